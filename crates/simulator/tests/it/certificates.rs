//! The socket under TLS: who shows which certificate may refund.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use simulator::{Faults, Payment, SimulatorConfig, TlsListen};
use wechat_pay::sign::Algorithm::Md5;

use crate::support::{APP, MCH, Map, NOWHERE, PROVIDER, Sim, config, map};

fn with_tls(folder: &Path) -> SimulatorConfig {
    let tls = Some(TlsListen { listen: "127.0.0.1:0".to_owned(), folder: folder.to_owned() });
    SimulatorConfig { tls, ..config(Faults::default()) }
}

/// A client that trusts the folder's authority and shows the certificate of `mch_id`, if any.
async fn post(
    sim: &Sim,
    folder: &Path,
    mch_id: Option<&str>,
    fields: &Map,
) -> Result<(StatusCode, String), String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let tls = match mch_id {
        None => builder.with_no_client_auth(),
        Some(mch_id) => {
            let file = |name: &str| folder.join(mch_id).join(name);
            let certificate = CertificateDer::from_pem_file(file("apiclient_cert.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(file("apiclient_key.pem")).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let uri = format!("{}/secapi/pay/refund", sim.tls_base_url().unwrap());
    let body = Full::new(Bytes::from(sim.signed(fields, Md5)));
    let response =
        client.request(Request::post(uri).body(body).unwrap()).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8(bytes.to_vec()).unwrap()))
}

fn wish() -> Map {
    map(&[
        ("appid", APP),
        ("mch_id", MCH),
        ("out_trade_no", "T00001"),
        ("out_refund_no", "R1"),
        ("total_fee", "1999"),
        ("refund_fee", "500"),
    ])
}

#[tokio::test]
async fn only_the_merchants_own_certificate_refunds() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(with_tls(folder.path())).await;
    let order = sim.order("T00001", NOWHERE);
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    let (status, body) = post(&sim, folder.path(), None, &wish()).await.unwrap();
    assert!(status == StatusCode::BAD_REQUEST && body.contains("No required SSL certificate"), "{body}");
    let (status, body) = post(&sim, folder.path(), Some(PROVIDER), &wish()).await.unwrap();
    assert!(status == StatusCode::OK && body.contains("证书") && !body.contains("<sign>"), "{body}");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Sim::start(with_tls(elsewhere.path())).await;
    std::fs::copy(folder.path().join("ca.pem"), elsewhere.path().join("ca.pem")).unwrap();
    assert!(post(&sim, elsewhere.path(), Some(MCH), &wish()).await.is_err(), "of another authority");
    assert_eq!(sim.control.stats().refunds, 0);
    let (_, body) = post(&sim, folder.path(), Some(MCH), &wish()).await.unwrap();
    assert!(body.contains("refund_id") && sim.control.stats().refunds == 1, "{body}");
    other.stop().await;
    sim.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_the_certificates_and_a_new_merchant_gets_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let mut few = with_tls(folder.path());
    few.merchants.truncate(1);
    Sim::start(few).await.stop().await;
    let own = format!("{MCH}/apiclient_cert.pem");
    let before = (file("ca.pem"), file(&own));
    let sim = Sim::start(with_tls(folder.path())).await;
    assert_eq!((file("ca.pem"), file(&own)), before);
    assert!(post(&sim, folder.path(), Some(PROVIDER), &wish()).await.unwrap().1.contains("证书"));
    let (_, body) = post(&sim, folder.path(), Some(MCH), &wish()).await.unwrap();
    assert!(body.contains("ORDERNOTEXIST"), "{body}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = folder.path().join(MCH).join("apiclient_key.pem");
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o077, 0);
    }
    std::fs::write(folder.path().join("server.pem"), "nonsense").unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let Err(error) = simulator::Simulator::start(with_tls(folder.path()), stop).await else {
        panic!("it starts")
    };
    assert!(error.to_string().starts_with(&folder.path().display().to_string()), "{error}");
}
