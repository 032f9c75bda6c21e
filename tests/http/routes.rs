//! What is answered.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flate2::read::GzDecoder;
use sidetone::http::{Listeners, Server, WebConfig};

use super::support::{Answer, Running, Shop, read_all, request, unhurried};

#[test]
fn each_format_goes_to_those_who_ask_for_it() {
    let server = Running::plain();
    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    for (accept, format, content_type) in [
        ("*/*", "Classic\n", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "OpenMetrics\n",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            protobuf,
            "Protobuf\n",
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        ),
    ] {
        let answer = server.ask("GET", "/metrics", &[&format!("Accept: {accept}")]);
        assert_eq!((answer.status, answer.text()), (200, format));
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
    }
    assert_eq!(server.ask("GET", "/metrics", &["Accept: image/png"]).status, 406);
    assert_eq!(server.ask("GET", "/api/calls", &["Accept: text/html"]).status, 406);
}

#[test]
fn probes_say_how_things_are() {
    let shop = Shop::default();
    shop.is_ready.store(false, Ordering::Relaxed);
    let server = Running::start(unhurried(), WebConfig::default(), shop);
    let live = server.ask("GET", "/live", &["Accept: text/plain"]);
    assert_eq!((live.status, live.text()), (200, "{\"status\":\"alive\"}"));
    let ready = server.get("/ready");
    assert_eq!((ready.status, ready.json()["reason"].as_str()), (503, Some("no interface is up")));
    let health = server.get("/health");
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("degraded")));
    assert!(health.json().get("parts").is_none());
    let detailed = server.get("/health?detailed=true").json();
    assert_eq!(detailed["parts"][0]["name"], "capture");
    assert_eq!(detailed["parts"][0]["detail"]["interfaces"], 2);
}

#[test]
fn calls_are_found_by_their_encoded_identifier() {
    let server = Running::plain();
    assert_eq!(server.get("/api/calls/a%2Fb%40h%25%22").json(), "a/b@h%\"");
    assert_eq!(server.get("/api/calls/gone").status, 404);
    assert_eq!(server.get("/api/calls/%zz").status, 400);
    assert_eq!(server.get("/api/calls/a/b").status, 404);
    assert_eq!(server.get("/api/calls?tenant=a%20b").text(), "[Some(\"a b\")]");
    assert_eq!(server.get("/api/calls?limit=x").json()["error"], "limit is no number");
    assert_eq!(server.get("/api/streams").status, 503);
    assert_eq!(server.get("/api/config").text(), "{}");
    let page = server.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("/health?detailed=true"));
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
}

#[test]
fn evidence_is_a_file_to_be_saved() {
    let server = Running::plain();
    for accept in ["*/*", "application/x-pcapng", "application/octet-stream"] {
        let file = server.ask("GET", "/api/calls/bad/pcap", &[&format!("Accept: {accept}")]);
        assert_eq!((file.status, file.text()), (200, "\n\r\r\n"));
        assert_eq!(file.header("content-type"), Some("application/x-pcapng"));
        assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"x-1.pcapng\""));
    }
    assert_eq!(server.ask("GET", "/api/calls/bad/pcap", &["Accept: text/html"]).status, 406);
    let none = server.get("/api/calls/a%2Fb/pcap");
    assert_eq!((none.status, none.json()["error"].as_str()), (404, Some("nothing of a/b")));
    assert_eq!(server.ask("POST", "/api/calls/bad/pcap", &[]).status, 405);
    assert_eq!(server.get("/api/calls/bad/pcap/").status, 404);
}

#[test]
fn errors_are_json_and_name_the_request() {
    let server = Running::plain();
    let missing = server.ask("GET", "/nothing", &["X-Request-ID: my-7"]);
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("application/json")));
    assert_eq!(missing.json()["request_id"], "my-7");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = server.ask(method, "/metrics", &["Content-Length: 0"]);
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn every_answer_has_a_request_id() {
    let server = Running::plain();
    for target in ["/metrics", "/live", "/nothing", "/api/calls/%zz"] {
        assert_eq!(
            server.ask("GET", target, &["X-Request-ID: a.B-3_"]).header("x-request-id"),
            Some("a.B-3_")
        );
        let (first, second) = (server.get(target), server.get(target));
        assert_eq!(first.header("x-request-id").unwrap().len(), 32);
        assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
        let odd = server.ask("GET", target, &["X-Request-ID: a b\"c"]);
        assert_eq!(odd.header("x-request-id").unwrap().len(), 32);
    }
    let broken = Answer::parse(&server.raw(b"what is this\r\n\r\n"));
    assert_eq!((broken.status, broken.header("x-request-id").unwrap().len()), (400, 32));
    assert_eq!(broken.json()["request_id"].as_str(), broken.header("x-request-id"));
}

#[test]
fn gzip_and_plain_are_the_same_bytes() {
    let shop = Shop { size: 3_000_000, ..Shop::default() };
    let server = Running::start(unhurried(), WebConfig::default(), shop);
    let plain = server.get("/metrics");
    let zipped = server.ask("GET", "/metrics", &["Accept-Encoding: gzip"]);
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 3_000_000));
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < 100_000);
    let mut unzipped = Vec::new();
    GzDecoder::new(zipped.body.as_slice()).read_to_end(&mut unzipped).unwrap();
    assert!(unzipped == plain.body);
}

#[test]
fn head_is_get_without_the_body() {
    let shop = Shop { size: 200_000, ..Shop::default() };
    let server = Running::start(unhurried(), WebConfig::default(), shop);
    for target in ["/metrics", "/live", "/nothing"] {
        let (get, head) = (server.get(target), server.ask("HEAD", target, &[]));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{target}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{target}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Running::plain();
    let kept = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let all = [kept("/api/calls/1"), kept("/api/calls/2"), request("GET", "/api/calls/3", &[])].concat();
    let answered = String::from_utf8(server.raw(all.as_bytes())).unwrap();
    let order: Vec<_> = ["\"1\"", "\"2\"", "\"3\""].iter().map(|body| answered.find(body).unwrap()).collect();
    assert!(order.is_sorted(), "{answered}");
    assert_eq!(server.stats().connections, 1);
}

#[test]
fn http2_is_spoken_too() {
    let shop = Shop { size: 1_000_000, ..Shop::default() };
    let server = Running::start(unhurried(), WebConfig::default(), shop);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2-prior-knowledge", "--write-out", "%{http_version} %{http_code}"]);
    let targets = ["/metrics", "/live"].map(|target| format!("http://{}{target}", server.address));
    curl.args(targets).args(["--output", "/dev/null", "--output", "/dev/null"]);
    match curl.output() {
        Ok(output) if output.status.success() => {
            assert_eq!(String::from_utf8(output.stdout).unwrap(), "2 2002 200");
            assert_eq!(server.stats().connections, 1, "one connection for both");
        }
        Ok(output) => crate::skipped::skipped(format_args!("curl cannot speak HTTP/2: {:?}", output.status)),
        Err(error) => crate::skipped::skipped(format_args!("curl cannot be run: {error}")),
    }
}

#[test]
fn a_header_that_is_too_large_is_431_in_http2_too() {
    let server = Running::plain();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2-prior-knowledge", "--write-out", "\n%{http_code}"]);
    curl.args(["--header", &format!("X-Long: {}", "a".repeat(20_000))]);
    match curl.arg(format!("http://{}/live", server.address)).output() {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.ends_with("\n431") && said.contains("request_id"), "{said}");
        }
        Ok(output) => crate::skipped::skipped(format_args!("curl cannot speak HTTP/2: {:?}", output.status)),
        Err(error) => crate::skipped::skipped(format_args!("curl cannot be run: {error}")),
    }
}

#[test]
fn http2_without_a_client_program() {
    let server = Running::plain();
    let mut stream = server.connect();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&settings).unwrap();
    // HPACK: GET and http from the static table, then :path and :authority as literals.
    let mut block = vec![0x82, 0x86, 0x04, 5];
    block.extend(b"/live");
    block.extend([0x01, 1, b'x']);
    let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 0x5, 0, 0, 0, 1];
    frame.extend(block);
    stream.write_all(&frame).unwrap();
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while memchr::memmem::find(&heard, b"{\"status\":\"alive\"}").is_none() {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "closed without an answer");
        heard.extend_from_slice(&buffer[..read]);
    }
}

#[test]
fn several_addresses_are_served() {
    let addresses = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let Ok(listeners) = Listeners::bind(&addresses) else {
        return crate::skipped::skipped("there is no IPv6 loopback here");
    };
    let addresses = listeners.addresses();
    let server = Server::new(unhurried(), WebConfig::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.spawn(async move {
        server.serve(listeners, Arc::new(Shop::default()), std::future::pending::<()>()).await
    });
    for address in addresses {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request("GET", "/live", &[]).as_bytes()).unwrap();
        assert_eq!(Answer::parse(&read_all(&mut stream)).status, 200, "{address}");
    }
    runtime.shutdown_background();
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_log_line_of_a_request_carries_its_id() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter("sidetone=debug")
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Running::plain();
    server.ask("GET", "/nothing", &["X-Request-ID: logged-7"]);
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let own: Vec<serde_json::Value> = lines
        .lines()
        .filter(|line| line.contains("logged-7"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let messages: Vec<_> = own.iter().filter_map(|line| line["fields"]["message"].as_str()).collect();
    assert_eq!(messages, ["refused", "answered"]);
    assert!(own.iter().all(|line| line["span"]["request_id"] == "logged-7"), "{own:#?}");
}
