//! TLS, client certificates, users, and a reload of all of it.

use std::path::{Path, PathBuf};
use std::thread;

use sidetone::http::{ClientType, WebConfig};
use tempfile::TempDir;

use super::support::{Running, Shop, unhurried};

fn web_config(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("web.yml");
    std::fs::write(&file, text).unwrap();
    file
}

fn users(cost: u32) -> String {
    format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", cost).unwrap())
}

fn with_users(cost: u32) -> Running {
    let web = WebConfig::read("web.yml", &users(cost), Path::new("")).unwrap();
    Running::start(unhurried(), web, Shop::default())
}

// alice:secret, alice:wrong
const RIGHT: &str = "Authorization: Basic YWxpY2U6c2VjcmV0";
const WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=";

#[test]
fn only_users_come_in() {
    let server = with_users(4);
    let refused = server.get("/metrics");
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("Basic realm="));
    assert!(refused.header("x-request-id").is_some());
    assert_eq!(server.ask("GET", "/metrics", &[WRONG]).status, 401);
    assert_eq!(server.ask("GET", "/nothing", &[WRONG]).status, 401, "strangers do not learn what there is");
    assert_eq!(server.ask("GET", "/metrics", &[RIGHT]).status, 200);
    assert_eq!(server.ask("GET", "/metrics", &[RIGHT]).status, 200);
    assert_eq!(server.stats().auth_failures, 3);
}

#[test]
fn guessing_is_bounded_and_does_not_lock_out_who_is_known() {
    let server = with_users(12);
    assert_eq!(server.ask("GET", "/live", &[RIGHT]).status, 200);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let guesses: Vec<_> = (0..40)
            .map(|number| {
                let server = &server;
                // Passwords of five digits: every guess is another one.
                let guess =
                    format!("Authorization: Basic {}", base64(format!("alice:{number:05}").as_bytes()));
                scope.spawn(move || server.ask("GET", "/live", &[&guess]).status)
            })
            .collect();
        assert_eq!(server.ask("GET", "/live", &[RIGHT]).status, 200, "remembered, and not in the queue");
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    let (checked, busy) = (count(&statuses, 401), count(&statuses, 429));
    assert!(checked >= 1 && busy >= 1, "{checked} {busy}");
    let stats = server.stats();
    assert_eq!(stats.auth_failures, checked);
    let hits: Vec<_> = stats.rate_limit_hits.iter().map(|hits| (hits.client_type, hits.count)).collect();
    assert_eq!(hits, [(ClientType::Local, busy)]);
}

fn count(statuses: &[u16], wanted: u16) -> u64 {
    statuses.iter().filter(|status| **status == wanted).count() as u64
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

#[test]
fn a_broken_file_changes_nothing_and_a_good_one_everything() {
    let directory = TempDir::new().unwrap();
    let file = web_config(directory.path(), &users(4));
    let server = Running::start(unhurried(), WebConfig::load(&file).unwrap(), Shop::default());
    assert_eq!(server.ask("GET", "/live", &[RIGHT]).status, 200);

    web_config(directory.path(), "basic_auth_users:\n  alice: plain text\nbasic_auth: x\n");
    let problems = WebConfig::load(&file).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].place.ends_with("web.yml:2"));
    assert_eq!(server.get("/live").status, 401, "the old one stays");
    assert_eq!(server.ask("GET", "/live", &[RIGHT]).status, 200);

    let bob = bcrypt::hash("hidden", 4).unwrap();
    let text = format!(
        "basic_auth_users:\n  bob: {bob}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    );
    web_config(directory.path(), &text);
    server.server.reload(WebConfig::load(&file).unwrap());
    assert_eq!(server.ask("GET", "/live", &[RIGHT]).status, 401, "forgotten, though it was let in before");
    let right = format!("Authorization: Basic {}", base64(b"bob:hidden"));
    let answer = server.ask("GET", "/live", &[&right]);
    assert_eq!((answer.status, answer.header("x-frame-options")), (200, Some("deny")));
}

#[cfg(feature = "tls")]
mod tls {
    use std::io::{Read, Write};
    use std::process::Command;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;
    use crate::certificates::certificates;
    use crate::support::{Answer, read_all, request};

    fn config(directory: &TempDir, more: &str) -> WebConfig {
        let text = format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}");
        let file = web_config(directory.path(), &text);
        WebConfig::load(&file).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// Asks with the certificate of `who`; an error is a handshake that failed.
    fn ask(server: &Running, directory: &TempDir, who: Option<&str>) -> Result<Answer, String> {
        let at = |name: &str| directory.path().join(name);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(at("ca.crt")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match who {
            None => builder.with_no_client_auth(),
            Some(who) => {
                let chain = vec![CertificateDer::from_pem_file(at(&format!("{who}.crt"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(at(&format!("{who}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, server.connect());
        stream.write_all(request("GET", "/metrics", &[]).as_bytes()).map_err(|error| error.to_string())?;
        // With TLS 1.3 the client hears only now that its certificate was refused.
        let mut first = [0];
        stream.read_exact(&mut first).map_err(|error| error.to_string())?;
        let bytes = [first.to_vec(), read_all(&mut stream)].concat();
        Ok(Answer::parse(&bytes))
    }

    #[test]
    fn client_certificates_are_asked_for_as_configured() {
        let Some(directory) = certificates() else { return };
        let verified = "  client_ca_file: ca.crt\n  client_auth_type: ";
        // Who may come in: with no certificate, with one of a stranger, with one of the authority.
        for (more, expected) in [
            ("", [true, true, true]),
            ("  client_auth_type: RequestClientCert\n", [true, true, true]),
            ("  client_auth_type: RequireAnyClientCert\n", [false, true, true]),
            (&format!("{verified}VerifyClientCertIfGiven\n"), [true, false, true]),
            (&format!("{verified}RequireAndVerifyClientCert\n"), [false, false, true]),
            (
                &format!("{verified}RequireAndVerifyClientCert\n  client_allowed_sans: [client.example]\n"),
                [false, false, true],
            ),
            (
                &format!("{verified}RequireAndVerifyClientCert\n  client_allowed_sans: [other.example]\n"),
                [false, false, false],
            ),
        ] {
            let server = Running::start(unhurried(), config(&directory, more), Shop::default());
            for (who, expected) in [None, Some("stranger"), Some("client")].into_iter().zip(expected) {
                let answer = ask(&server, &directory, who);
                assert_eq!(answer.is_ok(), expected, "{more} {who:?}: {answer:?}");
                if let Ok(answer) = answer {
                    assert_eq!((answer.status, answer.text()), (200, "Classic\n"));
                }
            }
            let refused = expected.iter().filter(|is_in| !**is_in).count() as u64;
            server.until("failures are counted", |stats| stats.tls_failures == refused);
        }
    }

    #[test]
    fn a_reload_brings_tls_and_closes_plain_connections() {
        let Some(directory) = certificates() else { return };
        let server = Running::plain();
        let mut old = server.connect();
        old.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut first = [0];
        old.read_exact(&mut first).unwrap();
        server.server.reload(config(&directory, "  min_version: TLS13\n"));
        assert!(read_all(&mut old).ends_with(b"{\"status\":\"alive\"}"), "it ends after its answer");
        assert_eq!(ask(&server, &directory, None).unwrap().status, 200);

        std::fs::write(directory.path().join("server.key"), "no key").unwrap();
        let problems = WebConfig::load(&directory.path().join("web.yml")).unwrap_err();
        assert!(problems[0].what.contains("server.key"), "{problems:#?}");
        assert_eq!(ask(&server, &directory, None).unwrap().status, 200, "the old key is still in use");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let Some(directory) = certificates() else { return };
        let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: client.key\n";
        let problems = WebConfig::load(&web_config(directory.path(), text)).unwrap_err();
        assert!(problems[0].place.ends_with(":3"), "{problems:#?}");
        assert!(problems[0].what.contains("do not go together"), "{problems:#?}");
    }

    #[test]
    fn all_files_are_named_for_watching() {
        let Some(directory) = certificates() else { return };
        let more = "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
        let config = config(&directory, more);
        let names: Vec<_> =
            config.files().iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["web.yml", "server.crt", "server.key", "ca.crt"]);
    }

    #[test]
    fn http2_is_agreed_upon_by_alpn() {
        let Some(directory) = certificates() else { return };
        for (more, version) in [("", "2"), ("http_server_config:\n  http2: false\n", "1.1")] {
            let server = Running::start(unhurried(), config(&directory, more), Shop::default());
            let url = format!("https://localhost:{}/live", server.address.port());
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--ipv4",
                "--write-out",
                "%{http_version}",
                "--output",
                "/dev/null",
                "--cacert",
            ]);
            match curl.arg(directory.path().join("ca.crt")).arg(url).output() {
                Ok(output) if output.status.success() => {
                    assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
                }
                Ok(output) => panic!("curl: {:?}", output.status),
                Err(error) => crate::skipped::skipped(format_args!("curl cannot be run: {error}")),
            }
        }
    }
}
