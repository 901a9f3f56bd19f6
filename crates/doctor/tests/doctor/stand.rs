//! Servers for the tests: HTTP by hand, so that any byte can be wrong, plain or behind TLS with a certificate of a test
//! authority.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use doctor::net::Roots;
use doctor::wechat::Merchant;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wechat_pay::sign::{Algorithm, ApiKey};

pub const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
pub const OTHER_KEY: &str = "ffffffffffffffffffffffffffffffff";
pub const SUCCESS: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";
pub const FAIL: &str =
    "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[REFUSED]]></return_msg></xml>";

pub fn key(text: &str) -> ApiKey {
    ApiKey::new(text).unwrap()
}

/// The usual merchant, with these keys.
pub fn merchant(keys: &[&str]) -> Merchant {
    Merchant {
        mch_id: "1900000109".to_owned(),
        app_ids: vec!["wx8888888888888888".to_owned()],
        sub_mch_ids: Vec::new(),
        keys: keys.iter().map(|text| key(text)).collect(),
        algorithm: Algorithm::Md5,
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub body: String,
}

/// The bytes of a whole answer.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

pub fn xml(status: &str, body: &str) -> Vec<u8> {
    answer(status, "Content-Type: text/xml; charset=utf-8\r\n", body)
}

type Handler = Arc<dyn Fn(&Asked) -> Vec<u8> + Send + Sync>;

/// A server that ends with its owner.
pub struct Stand {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stand {
    pub async fn plain(handler: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(handler, None).await
    }

    pub async fn tls(
        config: ServerConfig,
        handler: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::start(handler, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(
        handler: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (handler, log): (Handler, _) = (Arc::new(handler), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, log, tls) = (handler.clone(), log.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, handler, log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, handler, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked, task }
    }

    /// By a name that means this machine.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.address.port())
    }

    pub fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.path.clone()).collect()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    handler: Handler,
    log: Arc<Mutex<Vec<Asked>>>,
) {
    let Some(asked) = read(&mut stream).await else { return };
    let bytes = handler(&asked);
    log.lock().unwrap().push(asked);
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 8192];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
        if body.len() < head.lines().find_map(length).unwrap_or(0) {
            continue;
        }
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        return Some(Asked { method, path, body: body.to_owned() });
    }
}

/// A certificate authority of the test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::named("test authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn roots(&self) -> Roots {
        Roots::only(CertificateDer::from(self.0.der().to_vec())).unwrap()
    }

    /// A certificate for a name, good for so many days from now.
    pub fn signs(&self, name: &str, days: i64) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let now = doctor::clock::wall_ms() / 1000;
        let date = |seconds: i64| {
            let (year, month, day) = civil(seconds.div_euclid(86_400));
            rcgen::date_time_ymd(year, month, day)
        };
        params.not_before = date(now - 90 * 86_400);
        // A date is its beginning: one more day keeps the count whole.
        params.not_after = date(now + (days + 1) * 86_400);
        let pair = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&pair, &self.0).unwrap();
        Signed { der: certificate.der().to_vec(), pem: certificate.pem(), key: pair.serialize_der() }
    }
}

/// Days since 1970 as year, month, day.
fn civil(days: i64) -> (i32, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (i32::try_from(year).unwrap(), u8::try_from(month).unwrap(), u8::try_from(day).unwrap())
}

pub struct Signed {
    pub der: Vec<u8>,
    pub pem: String,
    key: Vec<u8>,
}

impl Signed {
    fn certified(&self) -> Arc<CertifiedKey> {
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(self.der.clone())], key))
    }
}

/// A server with a certificate for callers that name a host, and one for those that do not.
#[derive(Debug)]
struct ByName {
    named: Arc<CertifiedKey>,
    unnamed: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.server_name().is_some() { Some(self.named.clone()) } else { self.unnamed.clone() }
    }
}

pub fn server(named: &Signed, unnamed: Option<&Signed>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = ByName { named: named.certified(), unnamed: unnamed.map(Signed::certified) };
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver))
}
