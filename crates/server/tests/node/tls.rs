//! TLS of whole nodes: certificates from files, what clients must show, new certificates while it runs.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use doled_server::{ClientAuth, KeyFormat, ListenerTls, Node, ServerOptions, StartError, Tls, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::sockets::Client;

/// An authority, and the files that it has written.
struct Place {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Place {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let place = Self { dir, issuer: Issuer::new(params, key) };
        place.issue("server");
        place.issue("client");
        place
    }

    /// Writes `name.pem` and `name.key`.
    fn issue(&self, name: &str) {
        self.issue_of(name, &CertificateParams::new(["localhost".to_owned()]).unwrap());
    }

    fn issue_of(&self, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> TlsOptions {
        TlsOptions::new(self.path("server.pem"), self.path("server.key"))
    }

    fn start(&self, options: &TlsOptions, rules: &[ListenerTls]) -> Node {
        // One address each.
        let listen: Vec<_> = (1..=rules.len().max(1)).map(|n| ([127, 0, 0, n as u8], 0).into()).collect();
        let listen_tls = listen.iter().copied().zip(rules.iter().copied()).collect();
        let tls = Some(Tls::open(options).unwrap().0);
        Node::start(ServerOptions { listen, listen_tls, tls, ..ServerOptions::default() }).unwrap()
    }

    fn connect(
        &self,
        node: &Node,
        index: usize,
        identity: Option<&str>,
    ) -> Client<impl std::io::Read + std::io::Write + use<>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let net::Address::Tcp(address) = node.addresses()[index] else { panic!("not a TCP address") };
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        Client(StreamOwned::new(session, socket))
    }

    #[track_caller]
    fn check(&self, node: &Node, index: usize, identity: Option<&str>, is_served: bool) {
        let mut client = self.connect(node, index, identity);
        let mut got = [0; 7];
        let served = std::io::Write::write_all(&mut client.0, b"version\r\n")
            .and_then(|()| std::io::Read::read_exact(&mut client.0, &mut got));
        assert_eq!(served.is_ok(), is_served, "listener {index} as {identity:?}: {served:?}");
    }

    #[track_caller]
    fn refused(&self, options: &TlsOptions, expect: &str) {
        let error = Tls::open(options).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
    }
}

fn stop(node: Node) {
    node.stop();
    node.wait();
}

#[test]
fn what_clients_must_show_is_a_matter_of_the_listener() {
    let place = Place::new();
    let stranger = Place::new();
    fs::copy(stranger.path("client.pem"), place.path("stranger.pem")).unwrap();
    fs::copy(stranger.path("client.key"), place.path("stranger.key")).unwrap();
    let authorities = Some(place.path("ca.pem"));
    let shown = [None, Some("client"), Some("stranger")];
    for (client_auth, served) in [
        (ClientAuth::None, [true, true, true]),
        (ClientAuth::Requested, [true, true, false]),
        (ClientAuth::Required, [false, true, false]),
        (ClientAuth::RequiredOnce, [false, true, false]),
    ] {
        let node = place
            .start(&TlsOptions { client_auth, authorities: authorities.clone(), ..place.options() }, &[]);
        for (identity, is_served) in shown.into_iter().zip(served) {
            place.check(&node, 0, identity, is_served);
        }
        stop(node);
    }
    let rules = [ListenerTls::Basic, ListenerTls::Mutual, ListenerTls::Off];
    let options = TlsOptions { client_auth: ClientAuth::Required, authorities, ..place.options() };
    let node = place.start(&options, &rules);
    for (identity, is_served) in shown.into_iter().zip([false, true, false]) {
        place.check(&node, 0, identity, true);
        place.check(&node, 1, identity, is_served);
    }
    let net::Address::Tcp(plain) = node.addresses()[2] else { panic!("not a TCP address") };
    Client::to(plain).check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    place.connect(&node, 1, Some("client")).check("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    let mut client = place.connect(&node, 0, None);
    client.send("stats\r\n");
    let stats = client.read_to("END\r\n");
    assert!(
        stats.contains("STAT ssl_handshake_errors 2\r\n") && stats.contains("STAT ssl_proto_errors 0\r\n"),
        "{stats}"
    );
    stop(node);
}

#[test]
fn new_certificates_are_taken_while_it_runs() {
    let place = Place::new();
    let node = place.start(&place.options(), &[]);
    let mut early = place.connect(&node, 0, None);
    early.check("get a\r\n", "END\r\n");
    // Another authority's certificate: clients that believe the first one refuse it.
    let other = Place::new();
    fs::copy(other.path("server.pem"), place.path("server.pem")).unwrap();
    early.send("refresh_certs\r\n");
    let error = early.read_to("\r\n");
    assert!(error.starts_with("Error loading the key: /") && error.contains("not the key"), "{error}");
    place.check(&node, 0, None, true);
    fs::copy(other.path("server.key"), place.path("server.key")).unwrap();
    early.check("refresh_certs noreply\r\nrefresh_certs\r\n", "OK\r\n");
    place.check(&node, 0, None, false);
    other.check(&node, 0, None, true);
    early.check("get a\r\n", "END\r\n");
    fs::remove_file(place.path("server.pem")).unwrap();
    early.send("refresh_certs\r\n");
    let error = early.read_to("\r\n");
    assert!(
        error.starts_with("Error loading the certificate chain: /") && error.contains("No such file"),
        "{error}"
    );
    other.check(&node, 0, None, true);
    stop(node);
}

#[test]
fn wrong_files_are_told_by_name() {
    let place = Place::new();
    let options = place.options();
    let with_chain = |name: &str| TlsOptions { chain: place.path(name), ..place.options() };
    let with_key = |name: &str| TlsOptions { key: place.path(name), ..place.options() };
    place.refused(&with_chain("none"), "loading the certificate chain: ");
    place.refused(&with_chain("server.key"), "server.key: there is no certificate in it");
    place.refused(&with_key("client.key"), "client.key: it is not the key of the certificate");
    place.refused(&with_key("server.pem"), "server.pem: there is no private key");
    fs::write(place.path("torn"), &fs::read(place.path("server.pem")).unwrap()[..200]).unwrap();
    place.refused(&with_chain("torn"), "torn: it is no PEM file, or a damaged one");
    fs::write(place.path("long"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    place.refused(&with_chain("long"), "long: longer than 1048576 bytes");
    let der = TlsOptions { key_format: KeyFormat::Der, ..options.clone() };
    place.refused(&der, "the key is damaged");
    let authorities = Some(place.path("server.key"));
    place.refused(&TlsOptions { authorities, ..options.clone() }, "loading the CA certificate: ");
    let ciphers = Some("RC4".to_owned());
    place.refused(&TlsOptions { ciphers, ..options.clone() }, "setting the provided cipher(s): RC4: none");
    let tls = Tls::open(&TlsOptions { client_auth: ClientAuth::Required, ..options }).unwrap().0;
    let refused = Node::start(ServerOptions { tls: Some(tls), ..ServerOptions::default() }).unwrap_err();
    assert!(matches!(refused, StartError::ListenerTls { .. }), "{refused}");
}

#[test]
fn a_key_may_be_bytes_or_stand_behind_its_certificate() {
    let place = Place::new();
    let key = PrivateKeyDer::from_pem_file(place.path("server.key")).unwrap();
    fs::write(place.path("server.der"), key.secret_der()).unwrap();
    let der = TlsOptions { key: place.path("server.der"), key_format: KeyFormat::Der, ..place.options() };
    let both =
        [fs::read(place.path("server.pem")).unwrap(), fs::read(place.path("server.key")).unwrap()].concat();
    fs::write(place.path("both"), both).unwrap();
    let one = TlsOptions::new(place.path("both"), place.path("both"));
    let strict = TlsOptions { tls12: false, session_cache: true, ..place.options() };
    for options in [der, one, strict] {
        let node = place.start(&options, &[]);
        place.check(&node, 0, None, true);
        stop(node);
    }
}

#[test]
fn a_certificate_that_clients_will_refuse_is_said() {
    let place = Place::new();
    assert_eq!(Tls::open(&place.options()).unwrap().1, [""; 0]);
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    place.issue_of("server", &params);
    let (_, warnings) = Tls::open(&place.options()).unwrap();
    assert!(warnings[0].ends_with("the certificate has expired: clients will refuse it"), "{warnings:?}");
    let node = place.start(&place.options(), &[]);
    place.check(&node, 0, None, false);
    stop(node);
}
