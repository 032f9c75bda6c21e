//! Certificates of the test's own, by openssl.

use std::process::Command;

use tempfile::TempDir;

use crate::skipped::skipped;

/// An authority (`ca`), a `server` and a `client` that it has signed, and a `stranger` whom nobody has signed, each as `.crt`
/// and `.key`; `None` where openssl cannot be run. The server is `server.example` and `localhost`.
pub(crate) fn certificates() -> Option<TempDir> {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let openssl = |arguments: &[&str]| match Command::new("openssl").args(arguments).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => panic!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            skipped(format_args!("openssl cannot be run: {error}"));
            false
        }
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let own = |name: &str, subject: &str| {
        let (key, out) = (at(&format!("{name}.key")), at(&format!("{name}.crt")));
        let own = ["-x509", "-days", "2", "-subj", subject, "-keyout", &key, "-out", &out];
        openssl(&[&["req"], &curve[..], &own].concat())
    };
    if !own("ca", "/CN=authority") || !own("stranger", "/CN=stranger") {
        return None;
    }
    for name in ["server", "client"] {
        let (key, request) = (at(&format!("{name}.key")), at(&format!("{name}.csr")));
        let extensions = at(&format!("{name}.ext"));
        let text = format!("subjectAltName=DNS:{name}.example,DNS:localhost\nbasicConstraints=CA:FALSE\n");
        std::fs::write(&extensions, text).unwrap();
        let subject = format!("/CN={name}");
        let asked = ["-new", "-subj", &subject, "-keyout", &key, "-out", &request];
        openssl(&[&["req"], &curve[..], &asked].concat());
        let (ca, ca_key, out) = (at("ca.crt"), at("ca.key"), at(&format!("{name}.crt")));
        let signed = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "7"];
        openssl(&[&signed[..], &["-days", "2", "-extfile", &extensions, "-out", &out]].concat());
    }
    Some(directory)
}
