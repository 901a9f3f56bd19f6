//! nginx/paybell.conf in front of a real ingress: only what WeChat needs passes, within its bounds, and callers without
//! SNI get our certificate.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    configuration::paybell,
    guard::{Guard, moved, shown},
    installed, output_of, read,
};

const NAME: &str = "pay.example.com";
/// WeChat gives up after this.
const WECHAT_PATIENCE: Duration = Duration::from_secs(5);

/// nginx, before it an ingress on one of its three upstreams; nobody listens on the other two.
struct Door {
    guard: Guard,
    port: u16,
}

impl Door {
    fn open() -> Self {
        let mut guard = Guard::start("tests/deploy/guarded");
        let (port, ingress, admin) = (guard.port(0), guard.port(1), guard.port(2));
        let (folder, key) = (guard.folder.clone(), guard.write("key", "0123456789abcdef0123456789abcdef\n"));
        guard.write("paybell.toml", &read("deploy/systemd/paybell.toml"));
        let binary = paybell();
        let environment = format!(
            "env PAYBELL__INGRESS__LISTEN=127.0.0.1:{ingress} PAYBELL__ADMIN__LISTEN=127.0.0.1:{admin} \
             PAYBELL__EMBEDDED__DATA_DIR={0}/data PAYBELL__MERCHANT__0__API_KEY_FILE={1}",
            shown(&folder),
            shown(&key),
        );
        let program = binary.get_program().to_str().unwrap();
        guard.launch(
            "ingress",
            ingress,
            &format!("{environment} {program} run ingress --config paybell.toml"),
        );

        let subject = format!("/CN={NAME}");
        output_of(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                .args(["-days", "2", "-subj", &subject, "-keyout", "privkey.pem", "-out", "fullchain.pem"])
                .current_dir(&folder),
        );
        let (v4, tls) = (format!("listen 127.0.0.1:{port} ssl"), format!("{}/", shown(&folder)));
        let (dead, dead_too) = (guard.port(3).to_string(), guard.port(4).to_string());
        let ingress = ingress.to_string();
        let places = [
            ("listen 443 ssl", &*v4),
            // Not every machine has the other family.
            ("listen [::]:443 ssl default_server;", ""),
            ("/etc/nginx/tls/pay.example.com/", &tls),
            ("127.0.0.1:8080", &format!("127.0.0.1:{dead}")),
            ("127.0.0.1:8180", &format!("127.0.0.1:{ingress}")),
            ("127.0.0.1:8181", &format!("127.0.0.1:{dead_too}")),
        ];
        guard.write("site.conf", &moved(&read("deploy/nginx/paybell.conf"), &places));
        // One process, so that its end is the end of all of it.
        guard.write(
            "nginx.conf",
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {}\n\
             http { access_log off; client_body_temp_path body; proxy_temp_path proxy; include site.conf; }\n",
        );
        guard.launch("nginx", port, &format!("nginx -p {0} -c {0}/nginx.conf", shown(&folder)));
        Self { guard, port }
    }

    /// A request over TLS; what came back, the head's first line before all.
    fn send(&self, request: &str) -> String {
        let mut client = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-connect",
                &format!("127.0.0.1:{}", self.port),
                "-servername",
                NAME,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A refused body may close the pipe under us; what came back tells.
        drop(client.stdin.as_mut().unwrap().write_all(request.as_bytes()));
        String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, body: &str) -> String {
        let length = body.len();
        self.send(&format!(
            "POST /notify/pay HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ))
    }
}

#[track_caller]
fn is_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}, got {answer:?}");
}

#[test]
fn only_what_wechat_needs_passes() {
    if !installed("nginx") {
        return;
    }
    let mut door = Door::open();
    is_status(&door.get("/healthz"), 200);
    // The ingress itself answers, and although two of three upstreams are not there, it answers every time.
    for _ in 0..6 {
        let answer = door.post("<xml><return_code>SUCCESS</return_code></xml>");
        is_status(&answer, 401);
        assert!(answer.contains("<![CDATA[FAIL]]>"), "{answer}");
    }
    is_status(&door.get("/notify/pay"), 405);
    for path in ["/", "/metrics", "/readyz", "/v1/orders", "/healthz/x", "/notify"] {
        is_status(&door.get(path), 404);
    }

    let body = |bytes: usize| format!("<xml>{}", "x".repeat(bytes - 5));
    is_status(&door.post(&body(64 * 1024)), 400);
    is_status(&door.post(&body(64 * 1024 + 1)), 413);

    door.guard.tell("kill ingress");
    let begun = Instant::now();
    is_status(&door.post("<xml></xml>"), 502);
    assert!(begun.elapsed() < WECHAT_PATIENCE, "WeChat is gone after {:?}", begun.elapsed());
}

#[test]
fn callers_without_sni_get_our_certificate() {
    if !installed("nginx") {
        return;
    }
    let door = Door::open();
    for name in [&["-noservername"][..], &["-servername", NAME], &["-servername", "other.example"]] {
        let connect = format!("127.0.0.1:{}", door.port);
        let said = output_of(Command::new("openssl").args(["s_client", "-connect", &connect]).args(name));
        assert!(said.contains(&format!("subject=CN = {NAME}")), "{name:?}: {said}");
    }
    let old = Command::new("openssl")
        .args(["s_client", "-tls1_1", "-connect", &format!("127.0.0.1:{}", door.port)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!old.status.success(), "TLS 1.1 was accepted");
}
