//! A small HTTP client for what the agent sends to other servers: one connection, kept; HTTP/1.1 or, where TLS agrees on
//! it, HTTP/2.
//!
//! ```text
//! Client::new(url, trust) -> post(path, headers, body) -> Answer { status, retry_after, body (its beginning) }
//!                                                    \-> Failure: name, connection, TLS, time
//! ```
//!
//! It follows no redirect and uses no proxy. A connection that the server closed while nothing was sent is made anew
//! without being told as a failure; whatever else goes wrong is for the caller, who knows what may be sent again.
//! Name servers and files are asked only where [`crate::sandbox::Needs`] says so: certificates are read in `new`.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::http::uri::{Authority, Scheme};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

#[cfg(feature = "tls")]
pub(crate) mod pem;
pub mod retry_after;
#[cfg(feature = "tls")]
pub(crate) mod trust;

/// Where to: scheme, host, port and the beginning of each path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    tls: bool,
    authority: Authority,
    host: String,
    port: u16,
    path: String,
}

/// One connection to one server.
pub struct Client {
    target: Target,
    timeout: Duration,
    link: Option<Link>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// How long the server wants to be left alone.
    pub retry_after: Option<retry_after::RetryAfter>,
    /// The beginning of the body, for a message: at most 1 KiB.
    pub body: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no address of a server.
    #[error("{0:?} is no URL of a server: write http://loki.example:3100 or https://...")]
    Url(String),
    /// Certificates cannot be had.
    #[error("{place}: {why}")]
    Trust {
        /// Which file.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The program was built without it.
    #[error("https needs TLS, which this program was built without")]
    NoTls,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name has no address, or nobody listens there.
    #[error("it cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It cannot be written as a request.
    #[error("no request: {0}")]
    Request(#[from] hyper::http::Error),
}

#[derive(Debug)]
enum Link {
    One(http1::SendRequest<Whole>),
    Two(http2::SendRequest<Whole>),
}

impl std::str::FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|at| !at.as_str().contains('@')).ok_or_else(wrong)?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || uri.query().is_some() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, authority, host, port, path })
    }
}

/// As it was written, but for a slash at its end.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl Target {
    /// Whether it names more than a server.
    pub fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_clear(&self) -> bool {
        !self.tls
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("target", &self.target)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the certificates of those it trusts: of the file, or else the system's. Nothing is connected yet.
    pub fn new(target: Target, ca: Option<&Path>, timeout: Duration) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        let tls = if target.tls { Some(trust::connector(ca)?) } else { None };
        #[cfg(not(feature = "tls"))]
        if target.tls {
            let _ = ca;
            return Err(Error::NoTls);
        }
        Ok(Self {
            target,
            timeout,
            link: None,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Where it sends to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends one request and waits for its answer, all within the time that was set.
    pub async fn post(&mut self, path: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let timeout = self.timeout;
        let answer = match tokio::time::timeout(timeout, self.exchange(path, headers, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Timeout(timeout)),
        };
        if answer.is_err() {
            // What is left of the exchange would be taken for the answer to the next one.
            self.link = None;
        }
        answer
    }

    async fn exchange(&mut self, path: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let is_kept = self.link.is_some();
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        let sent = link.send(self.request(path, headers, body.clone(), &link)?).await;
        let response = match sent {
            // It was closed while nobody looked: nothing was taken of the request, or it is sent again.
            Err(error) if is_kept && !error.is_timeout() => {
                link = self.connect().await?;
                link.send(self.request(path, headers, body, &link)?).await?
            }
            sent => sent?,
        };
        let answer = Answer::read(response).await?;
        self.link = Some(link);
        Ok(answer)
    }

    fn request(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        link: &Link,
    ) -> Result<Request<Whole>, Failure> {
        let target = &self.target;
        let path = format!("{}{path}", target.path);
        let uri = match link {
            Link::One(_) => path.parse::<Uri>().map_err(hyper::http::Error::from)?,
            Link::Two(_) => Uri::builder()
                .scheme(if target.tls { Scheme::HTTPS } else { Scheme::HTTP })
                .authority(target.authority.clone())
                .path_and_query(path)
                .build()?,
        };
        let mut request = Request::new(Whole(Some(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(headers);
        if matches!(link, Link::One(_)) {
            let host = HeaderValue::from_str(target.authority.as_str()).map_err(hyper::http::Error::from)?;
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port))
            .await
            .map_err(Failure::Connect)?;
        // Its absence costs time and nothing else.
        let _ = stream.set_nodelay(true);
        #[cfg(feature = "tls")]
        if let Some(connector) = &self.tls {
            let name = rustls::pki_types::ServerName::try_from(self.target.host.clone())
                .map_err(|error| Failure::Connect(io::Error::other(error)))?;
            let stream = connector.connect(name, stream).await.map_err(Failure::Connect)?;
            let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
            return Link::open(TokioIo::new(stream), is_two).await;
        }
        Link::open(TokioIo::new(stream), false).await
    }
}

impl Link {
    async fn open<T>(io: T, is_two: bool) -> Result<Self, Failure>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        if is_two {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Ok(Self::Two(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(Self::One(sender))
        }
    }

    async fn send(&mut self, request: Request<Whole>) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Answer {
    /// The body is read to its end, so that the connection can be used again, but little of it is kept.
    async fn read(response: Response<Incoming>) -> Result<Self, Failure> {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = response.into_body();
        let mut kept = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Some(data) = frame?.data_ref() {
                let room = MOST_KEPT.saturating_sub(kept.len()).min(data.len());
                kept.extend_from_slice(data.get(..room).unwrap_or_default());
            }
        }
        Ok(Self { status, retry_after, body: String::from_utf8_lossy(&kept).trim().to_owned() })
    }
}

/// A body that is there as a whole.
#[derive(Debug)]
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

const MOST_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, Error> {
        text.parse()
    }

    #[test]
    fn a_url_is_taken_apart() {
        let loki = target("http://loki:3100/").unwrap();
        assert_eq!((loki.host.as_str(), loki.port, loki.path.as_str()), ("loki", 3100, ""));
        assert_eq!(loki.to_string(), "http://loki:3100");
        let six = target("https://[2001:db8::1]/gateway/").unwrap();
        assert_eq!((six.host.as_str(), six.port, six.path.as_str()), ("2001:db8::1", 443, "/gateway"));
        assert!(six.has_path() && !six.is_clear());
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused() {
        for text in
            ["loki:3100", "ftp://x", "http://", "http://user:secret@loki", "http://loki/?tenant=a", ""]
        {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
