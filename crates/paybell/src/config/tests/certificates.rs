//! The API certificate of a merchant: what is refused before anybody waits for a refund, and what is taken all the same.

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::{Folder, MERCHANT};

/// Whom the certificate names and until which year it is good; gives its path and its key's.
fn pair(folder: &Folder, name: &str, until: i32) -> [String; 2] {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    let texts = [params.self_signed(&key).unwrap().pem(), key.serialize_pem()];
    let files = ["cert", "key"].map(|what| format!("{name}-{until}-{what}.pem"));
    [0, 1].map(|of| folder.put(&files[of], &texts[of]).display().to_string())
}

fn problems(folder: &Folder, [cert, key]: &[String; 2]) -> Vec<String> {
    let text = format!("{MERCHANT}client_cert_file = \"{cert}\"\nclient_key_file = \"{key}\"\n");
    folder.load(&text, &[]).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_certificate_must_fit_its_key_and_name_its_merchant() {
    let folder = Folder::new();
    let own = pair(&folder, "1900000109", 2090);
    assert!(problems(&folder, &own).is_empty());
    assert!(problems(&folder, &pair(&folder, "some shop", 2090)).is_empty(), "no number, no judgement");

    let other = pair(&folder, "1900000222", 2090);
    let said = problems(&folder, &other).concat();
    assert!(
        said.contains("client_cert_file") && said.contains("certificate of merchant 1900000222"),
        "{said}"
    );
    let said = problems(&folder, &[own[0].clone(), other[1].clone()]).concat();
    assert!(said.contains("do not fit together"), "{said}");
    let said = problems(&folder, &[own[1].clone(), own[1].clone()]).concat();
    assert!(said.contains("has no certificate"), "{said}");
    let said = problems(&folder, &[own[0].clone(), "/nowhere/key.pem".to_owned()]).concat();
    assert!(said.contains("cannot read /nowhere/key.pem"), "{said}");
}

#[test]
fn one_that_has_ended_stops_no_payment() {
    let folder = Folder::new();
    let [cert, key] = pair(&folder, "1900000109", 2020);
    assert!(problems(&folder, &[cert.clone(), key.clone()]).is_empty());
    let text = format!("{MERCHANT}client_cert_file = \"{cert}\"\nclient_key_file = \"{key}\"\n");
    let config = folder.load(&text, &[]).checked().unwrap();
    let pair = config.merchants[0].client_certificate.clone().unwrap();
    let at_2026 = 1_795_147_205;
    assert!(pair.days_left(at_2026).is_some_and(|days| days < 0), "{:?}", pair.days_left(at_2026));
}
