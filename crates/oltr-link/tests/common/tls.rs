//! TLS before a broker, on a network that is slow.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate for 127.0.0.1, and the CA certificate that signed it.
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Made by openssl, where that is installed.
    pub fn new() -> Option<Certificates> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        for command in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test-ca -keyout ca.key -out ca.pem",
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out cert.pem",
        ] {
            let ran = Command::new("openssl")
                .args(command.split(' '))
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            assert!(ran.ok()?.success(), "{command}");
        }
        Some(Certificates { folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> Arc<rustls::ServerConfig> {
        let chain = CertificateDer::pem_file_iter(self.path("cert.pem")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    /// Accepts TLS connections and forwards their bytes to the broker at `port`. Delays each message of the handshake
    /// by `late`. Returns its port.
    pub fn serve(&self, port: u16, late: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mine = listener.local_addr().unwrap().port();
        let config = self.config();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = config.clone();
                std::thread::spawn(move || pass(stream, port, config, late));
            }
        });
        mine
    }
}

fn pass(mut stream: TcpStream, port: u16, config: Arc<rustls::ServerConfig>, late: Duration) -> std::io::Result<()> {
    let mut tls = rustls::ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        tls.read_tls(&mut stream)?;
        if tls.process_new_packets().is_err() {
            return Ok(());
        }
        std::thread::sleep(late);
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
    }
    let mut plain = TcpStream::connect(("127.0.0.1", port))?;
    for socket in [&stream, &plain] {
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
    }
    let mut tls = rustls::StreamOwned::new(tls, stream);
    let mut part = [0; 16_384];
    loop {
        match tls.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(n) => plain.write_all(&part[..n])?,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
        match plain.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(n) => tls.write_all(&part[..n])?,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
    }
}
