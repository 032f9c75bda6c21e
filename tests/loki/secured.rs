//! TLS to the server, and how the agent says who it is.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::certificates::certificates;

/// TLS as `server` before a double; an address under which it listens. It ends with the test.
fn before(double: SocketAddr, certificates: &Path, name: &str) -> SocketAddr {
    let at = |ending: &str| certificates.join(format!("{name}.{ending}"));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(at("crt")).unwrap()],
            PrivateKeyDer::from_pem_file(at("key")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut clear = acceptor.accept(stream).await.ok()?;
                    let mut behind = TcpStream::connect(double).await.ok()?;
                    tokio::io::copy_bidirectional(&mut clear, &mut behind).await.ok()
                });
            }
        });
    });
    address
}

#[test]
fn lines_go_over_tls_to_whom_the_authority_knows() {
    let Some(certificates) = certificates() else { return };
    let (directory, double) = (tempfile::tempdir().unwrap(), Double::start());
    let address = before(double.address, certificates.path(), "server");
    let url = format!("https://localhost:{}", address.port());
    let ca = Some(certificates.path().join("ca.crt"));
    let running = start(Settings { ca, ..settings(&url) }, directory.path());
    running.put("application", 0..200);
    assert!(within(30, || double.lines() == 200), "{:?}", running.outlet.counters());
    assert_whole(&double, "application", 200);
    running.end();
}

#[test]
fn whom_the_authority_does_not_know_gets_nothing_and_it_is_said_why() {
    let Some(certificates) = certificates() else { return };
    let double = Double::start();
    for (ca, served, host, why) in [
        ("stranger", "server", "localhost", "UnknownIssuer"),
        ("ca", "stranger", "localhost", "certificate"),
        // Signed, but for another name.
        ("ca", "client", "127.0.0.1", "not valid for name"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let address = before(double.address, certificates.path(), served);
        let url = format!("https://{host}:{}", address.port());
        let ca = Some(certificates.path().join(format!("{ca}.crt")));
        let running = start(Settings { ca, ..settings(&url) }, directory.path());
        running.put("application", 0..5);
        assert!(within(30, || running.failures("connect") > 1));
        let counters = running.outlet.counters();
        let said = counters.trouble.clone().unwrap();
        assert!(said.contains(why), "{served} as {host}: {said}");
        assert!(!counters.is_up && counters.lost() == 0 && counters.waiting_lines == 5, "{counters:?}");
        running.end();
    }
    assert_eq!(double.lines(), 0);
}

#[test]
fn the_agent_says_who_it_is_and_reads_a_new_password_when_the_old_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    // sidetone:new
    for (user, authorization) in
        [(None, "authorization: bearer new"), (Some("sidetone"), "authorization: basic c2lkzxrvbmu6bmv3")]
    {
        let (spool, double) = (tempfile::tempdir().unwrap(), Double::start());
        *double.needs.lock().unwrap() = vec!["x-scope-orgid: voip".into(), authorization.into()];
        fs::write(&secret, "old\n").unwrap();
        let (password_file, bearer_file) = match user {
            Some(_) => (Some(secret.clone()), None),
            None => (None, Some(secret.clone())),
        };
        let user = user.map(str::to_owned);
        let settings = Settings { user, password_file, bearer_file, ..settings(&double.url()) };
        let running = start(settings, spool.path());
        running.put("audit", 0..50);
        assert!(within(30, || running.failures("login") > 1));
        assert_eq!(double.lines(), 0);
        fs::write(&secret, "new\n").unwrap();
        assert!(within(30, || double.lines() == 50), "{:?}", running.outlet.counters());
        assert_whole(&double, "audit", 50);
        running.end();
    }
}

#[test]
fn who_names_no_tenant_gets_nothing_from_a_server_that_has_some() {
    let (directory, double) = (tempfile::tempdir().unwrap(), Double::start());
    *double.needs.lock().unwrap() = vec!["x-scope-orgid: other".into()];
    let running = start(settings(&double.url()), directory.path());
    running.put("audit", 0..5);
    assert!(within(30, || running.failures("login") > 0));
    assert_eq!(double.lines(), 0);
    double.needs.lock().unwrap().clear();
    assert!(within(30, || double.lines() == 5));
    running.end();
}
