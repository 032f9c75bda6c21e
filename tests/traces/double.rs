//! A strict double of a collector, by gRPC and HTTP on one port, that does what a collector may do wrong.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::oneshot;

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It is taken.
    Take,
    /// Taken, but for so many spans.
    TakeBut(i64),
    /// Not taken: status of HTTP, and `Retry-After`.
    Http(u16, Option<&'static str>),
    /// Not taken: status of gRPC, and the seconds of a RetryInfo.
    Grpc(u32, Option<i64>),
    /// Not taken; the connection ends without an answer.
    Cut,
    /// Taken; the connection ends without an answer.
    TakeAndCut,
    /// Taken, and the answer takes so long.
    Slow(Duration),
}

/// What has come.
#[derive(Debug, Default)]
pub(crate) struct Got {
    /// How often each span was taken, by trace and span id.
    pub(crate) spans: HashMap<(Vec<u8>, Vec<u8>), u32>,
    /// What came again was not the same.
    differing: u32,
    kept: HashMap<(Vec<u8>, Vec<u8>), Span>,
    /// When each request came.
    pub(crate) times: Vec<Instant>,
    /// What no collector should have to put up with.
    pub(crate) wrong: Vec<String>,
    /// Done with the next requests.
    acts: VecDeque<Act>,
    /// Done with all others.
    rest: Option<Act>,
}

pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    pub(crate) got: Arc<Mutex<Got>>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Double {
    pub(crate) fn start() -> Self {
        let mut double = Self { address: crate::rotel::free(), got: Arc::default(), running: None };
        double.again();
        double
    }

    /// Listens where it did before.
    pub(crate) fn again(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let got = Arc::clone(&self.got);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // What is under way when it ends, breaks.
            runtime.block_on(async {
                tokio::select! { () = serve(listener, got) => {}, _ = stopped => {} }
            });
        });
        self.running = Some((stop, thread));
    }

    /// Nobody is there any more.
    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    pub(crate) fn next(&self, acts: impl IntoIterator<Item = Act>) {
        self.got.lock().unwrap().acts.extend(acts);
    }

    pub(crate) fn always(&self, act: Act) {
        self.got.lock().unwrap().rest = Some(act);
    }

    pub(crate) fn distinct(&self) -> usize {
        self.got.lock().unwrap().spans.len()
    }

    /// Nothing was wrong with what came.
    pub(crate) fn assert_fine(&self) {
        let got = self.got.lock().unwrap();
        assert_eq!(got.wrong, [""; 0]);
        assert_eq!(got.differing, 0, "what comes again is the same");
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: TcpListener, got: Arc<Mutex<Got>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let got = Arc::clone(&got);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&got)));
            // A connection that is cut ends with an error.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, got: Arc<Mutex<Got>>) -> Result<Response<Whole>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    let act = {
        let mut got = got.lock().unwrap();
        got.times.push(Instant::now());
        let read = looked_at(&head.method, head.uri.path(), head.version, &head.headers, is_grpc)
            .and_then(|()| read(&head.headers, &body, is_grpc));
        let request = match read {
            Ok(request) => request,
            Err(wrong) => {
                got.wrong.push(wrong);
                ExportTraceServiceRequest::default()
            }
        };
        let act = got.acts.pop_front().or_else(|| got.rest.clone()).unwrap_or(Act::Take);
        if matches!(act, Act::Take | Act::TakeBut(_) | Act::TakeAndCut | Act::Slow(_)) {
            got.take(&request);
        }
        act
    };
    if let Act::Slow(wait) = act {
        tokio::time::sleep(wait).await;
    }
    let taken = |rejected| {
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: "too old".into() };
        ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }
    };
    Ok(match act {
        Act::Cut | Act::TakeAndCut => return Err(io::Error::other("cut")),
        Act::Take | Act::Slow(_) => success(&taken(0), is_grpc),
        Act::TakeBut(rejected) => success(&taken(rejected), is_grpc),
        Act::Http(status, after) => {
            let mut response = Response::new(Whole::new(Bytes::new()));
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            if let Some(after) = after {
                response.headers_mut().insert("retry-after", HeaderValue::from_static(after));
            }
            response
        }
        Act::Grpc(code, after) => {
            let mut response = Response::new(Whole::new(Bytes::new()));
            let headers = response.headers_mut();
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", code.into());
            headers.insert("grpc-message", HeaderValue::from_static("no"));
            if let Some(seconds) = after {
                headers.insert("grpc-status-details-bin", retry_info(code, seconds).parse().unwrap());
            }
            response
        }
    })
}

fn success(message: &ExportTraceServiceResponse, is_grpc: bool) -> Response<Whole> {
    let bytes = message.encode_to_vec();
    let mut response = Response::new(Whole::new(Bytes::new()));
    let kind = if is_grpc { "application/grpc" } else { "application/x-protobuf" };
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    if is_grpc {
        let mut framed = vec![0];
        framed.extend((bytes.len() as u32).to_be_bytes());
        framed.extend(bytes);
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        *response.body_mut() = Whole { data: Some(framed.into()), trailers: Some(trailers) };
    } else {
        *response.body_mut() = Whole::new(bytes.into());
    }
    response
}

/// `google.rpc.Status` with a RetryInfo, by hand: tags 1 and 3; type and value; delay; seconds.
fn retry_info(code: u32, seconds: i64) -> String {
    use base64::Engine;
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2, bytes.len() as u8], bytes].concat();
    let info = field(1, &[1 << 3, seconds as u8]);
    let any = [field(1, b"type.googleapis.com/google.rpc.RetryInfo"), field(2, &info)].concat();
    let status = [vec![1 << 3, code as u8], field(3, &any)].concat();
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(status)
}

fn looked_at(
    method: &Method,
    path: &str,
    version: Version,
    headers: &HeaderMap,
    is_grpc: bool,
) -> Result<(), String> {
    let must =
        |is_so: bool, what: &str| if is_so { Ok(()) } else { Err(format!("{what}: {path} {headers:?}")) };
    must(method == Method::POST, "POST")?;
    must(headers.get("user-agent").is_some(), "a user agent")?;
    must(headers.get("x-tenant").is_some_and(|tenant| tenant == "voip"), "the header that was asked for")?;
    if is_grpc {
        must(version == Version::HTTP_2, "HTTP/2")?;
        must(path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "the method")?;
        must(headers.get("te").is_some_and(|te| te == "trailers"), "trailers")?;
        must(headers.get("grpc-timeout").is_some(), "a deadline")
    } else {
        must(path == "/v1/traces", "the path")?;
        must(headers.get("content-type").is_some_and(|kind| kind == "application/x-protobuf"), "protobuf")
    }
}

fn read(headers: &HeaderMap, body: &[u8], is_grpc: bool) -> Result<ExportTraceServiceRequest, String> {
    if body.len() > 4 << 20 {
        return Err(format!("{} bytes are more than gRPC takes", body.len()));
    }
    let unpacked = |bytes: &[u8]| {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
        Ok::<_, String>(unpacked)
    };
    let bytes = if is_grpc {
        let (prefix, message) = body.split_at_checked(5).ok_or("no message")?;
        if u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize != message.len() {
            return Err("one message was expected".into());
        }
        if prefix[0] == 1 { unpacked(message)? } else { message.to_vec() }
    } else if headers.get("content-encoding").is_some_and(|how| how == "gzip") {
        unpacked(body)?
    } else {
        body.to_vec()
    };
    let request = ExportTraceServiceRequest::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
    let mut count = 0;
    for resource in &request.resource_spans {
        let named = resource.resource.iter().flat_map(|resource| &resource.attributes);
        if !named.clone().any(|pair| pair.key == "service.name") {
            return Err("no service.name".into());
        }
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            count += 1;
            whole(span)?;
        }
    }
    if count == 0 { Err("no spans".into()) } else { Ok(request) }
}

fn whole(span: &Span) -> Result<(), String> {
    let is_id = |id: &[u8], length: usize| id.len() == length && id.iter().any(|byte| *byte != 0);
    let mut keys: Vec<&str> = span.attributes.iter().map(|pair| pair.key.as_str()).collect();
    keys.sort_unstable();
    let is_fine = is_id(&span.trace_id, 16)
        && is_id(&span.span_id, 8)
        && (span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8))
        && !span.name.is_empty()
        && span.start_time_unix_nano > 0
        && span.start_time_unix_nano <= span.end_time_unix_nano
        && span.attributes.iter().all(|pair| !pair.key.is_empty() && pair.value.is_some())
        && keys.windows(2).all(|pair| pair[0] != pair[1]);
    if is_fine { Ok(()) } else { Err(format!("{span:?}")) }
}

impl Got {
    fn take(&mut self, request: &ExportTraceServiceRequest) {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans) {
            let key = (span.trace_id.clone(), span.span_id.clone());
            *self.spans.entry(key.clone()).or_default() += 1;
            let kept = self.kept.entry(key).or_insert_with(|| span.clone());
            self.differing += u32::from(kept != span);
        }
    }
}

/// A body and what follows it.
struct Whole {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Whole {
    fn new(data: Bytes) -> Self {
        Self { data: Some(data), trailers: None }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().filter(|data| !data.is_empty()).map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }
}
