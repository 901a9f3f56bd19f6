//! TLS towards WeChat: whose certificate is shown for which call, and whose word is believed.

use std::sync::{Arc, Mutex};

use proxy::{ClientIdentity, Error, Merchant, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use wechat_pay::xml;

use crate::ledger::Journal;
use crate::rig::{Rig, merchant};
use crate::shop::{MCH_ID, order, post};
use crate::wechat::{Reply, Seen, converse, ok};

const OTHER_MCH_ID: &str = "1900000110";
const REFUND: &str = "/secapi/pay/refund";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key in PEM form.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn identity(&self, name: &str) -> ClientIdentity {
        let (certificate, key) = self.issue(name);
        ClientIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }
}

/// A host under TLS that answers with the length of the client certificate it was shown: 0 for none.
struct TlsHost {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl TlsHost {
    async fn start(authority: &Authority) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = verifier.allow_unauthenticated().build().unwrap();
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config =
            config.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, kept) = (JoinSet::new(), seen.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, kept) = (acceptor.clone(), kept.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
                    let answer = move |_: &Seen| Reply::Send(ok(&shown.clone().unwrap_or_default()));
                    converse(stream, number, kept, Journal::default(), Arc::new(answer)).await;
                });
            }
        });
        Self { url, seen, _tasks: tasks }
    }
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn refund(mch_id_field: &str, mch_id: &str) -> Vec<u8> {
    xml::write([(mch_id_field, mch_id), ("out_refund_no", "R1")]).into_bytes()
}

#[tokio::test]
async fn each_merchants_calls_show_its_own_certificate_where_one_is_asked_for() {
    let authority = Authority::new();
    let host = TlsHost::start(&authority).await;
    let issued = [authority.issue("one"), authority.issue("two")];
    let journal = Journal::default();
    let rig = Rig::with(&journal, &[&host.url], |config| {
        config.trust = Trust::Pem(authority.0.pem().into_bytes());
        config.merchants = [MCH_ID, OTHER_MCH_ID, "1900000111"]
            .map(|mch_id| mch_id.to_owned())
            .map(|mch_id| Merchant { mch_id, ..merchant() })
            .to_vec();
        for (merchant, (certificate, key)) in config.merchants.iter_mut().zip(&issued) {
            merchant.identity =
                Some(ClientIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
        }
    })
    .await;
    let [one, two] = issued.map(|(certificate, _)| der(&certificate));
    for (path, field, mch_id, shown) in [
        (REFUND, "mch_id", MCH_ID, &one[..]),
        (REFUND, "mch_id", OTHER_MCH_ID, &two),
        (REFUND, "mch_id", MCH_ID, &one),
        ("/mmpaymkttransfers/promotion/transfers", "mchid", OTHER_MCH_ID, &two),
        ("/mmpaymkttransfers/query_coupon_stock", "mch_id", MCH_ID, &one),
        ("/mmpaymkttransfers/query_coupon_stock", "mch_id", "1900000111", b""),
        ("/pay/refundquery", "mch_id", MCH_ID, b""),
        ("/sandboxnew/secapi/pay/refund", "mch_id", MCH_ID, b""),
    ] {
        let answer = post(rig.address, path, &refund(field, mch_id)).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert!(answer.body == shown, "{path} of {mch_id}");
    }
    let sent = host.seen.lock().unwrap().len();
    for body in
        [refund("mch_id", "1900000111"), refund("mch_id", "1"), b"no xml".to_vec(), vec![b'a'; 70_000]]
    {
        let answer = post(rig.address, REFUND, &body).await;
        let (code, text) = answer.failure();
        assert_eq!((answer.status, code.as_str()), (502, "FAIL"));
        assert!(text.contains("client_cert_file"), "{text}");
    }
    assert_eq!(host.seen.lock().unwrap().len(), sent, "none of them was sent");
    assert_eq!(rig.calls(REFUND, "no_certificate"), 4);
}

#[tokio::test]
async fn a_body_that_names_nobody_goes_in_the_name_of_the_only_merchant() {
    let authority = Authority::new();
    let host = TlsHost::start(&authority).await;
    let journal = Journal::default();
    let rig = Rig::with(&journal, &[&host.url], |config| {
        config.trust = Trust::Pem(authority.0.pem().into_bytes());
        config.merchants[0].identity = Some(authority.identity("one"));
    })
    .await;
    for body in [b"--multipart".to_vec(), vec![b'a'; 1_000_000]] {
        let answer = post(rig.address, "/secapi/mch/uploadmedia", &body).await;
        assert!(answer.status == 200 && !answer.body.is_empty(), "{}", answer.status);
        assert!(host.seen.lock().unwrap().last().unwrap().body == body);
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_gets_nothing() {
    let authority = Authority::new();
    let host = TlsHost::start(&authority).await;
    let journal = Journal::default();
    for trust in [Trust::WebRoots, Trust::Pem(Authority::new().0.pem().into_bytes())] {
        let rig = Rig::with(&journal, &[&host.url], |config| config.trust = trust).await;
        let answer = post(rig.address, "/pay/unifiedorder", &order("T1", "1", &[])).await;
        assert_eq!(answer.status, 502);
        assert!(answer.failure().1.contains("not sent"));
    }
    assert!(host.seen.lock().unwrap().is_empty());
}

#[test]
fn a_certificate_and_a_key_must_be_there_and_belong_together() {
    let authority = Authority::new();
    let ((certificate, key), (_, other_key)) = (authority.issue("one"), authority.issue("two"));
    let made =
        |certificate: &str, key: &str| ClientIdentity::from_pem(certificate.as_bytes(), key.as_bytes());
    assert!(matches!(made("", &key), Err(Error::Identity(_))));
    assert!(matches!(made(&key, &key), Err(Error::Identity(_))));
    assert!(matches!(made(&certificate, &certificate), Err(Error::Identity(_))));
    let shown = format!("{:?}", made(&certificate, &key).unwrap());
    assert_eq!(shown, "ClientIdentity(***)");
    let mut config = proxy::ProxyConfig::new(vec![merchant()]);
    config.merchants[0].identity = Some(made(&certificate, &other_key).unwrap());
    let error = refused(config);
    assert!(matches!(&error, Error::IdentityRefused { mch_id, .. } if mch_id == MCH_ID), "{error}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let changed = |change: fn(&mut proxy::ProxyConfig)| {
        let mut config = proxy::ProxyConfig::new(vec![merchant()]);
        change(&mut config);
        refused(config)
    };
    assert!(matches!(changed(|config| config.base_urls.clear()), Error::NoBaseUrl));
    assert!(matches!(changed(|config| config.merchants.push(merchant())), Error::MerchantTwice(_)));
    assert!(matches!(changed(|config| config.merchants[0].keys.clear()), Error::NoKey(_)));
    assert!(matches!(changed(|config| config.trust = Trust::Pem(Vec::new())), Error::Trust(_)));
    for url in ["", "api.mch.weixin.qq.com", "ftp://x", "https://x?a=b", "http://x#f", "http://u:p@x"] {
        let mut config = proxy::ProxyConfig::new(Vec::new());
        config.base_urls = vec![url.to_owned()];
        assert!(matches!(refused(config), Error::BaseUrl(_)), "{url}");
    }
}

fn refused(config: proxy::ProxyConfig) -> Error {
    let ledger = Arc::new(crate::ledger::Memory::new(Journal::default()));
    let ports = proxy::Ports { registry: ledger.clone(), ledger };
    let mut metrics = prometheus_client::registry::Registry::default();
    let counted = proxy::ProxyMetrics::register(&mut metrics, [], &proxy::KeyUsed::default());
    proxy::Proxy::new(config, ports, counted).unwrap_err()
}
