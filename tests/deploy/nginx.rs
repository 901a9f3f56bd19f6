//! nginx/paybell.conf in front of a real ingress: only what WeChat needs passes, within its bounds, and callers without
//! SNI get our certificate.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    configuration::paybell,
    guard::{Guard, moved, shown},
    installed, output_of, read,
};

const NAME: &str = "pay.example.com";
/// Another site of the same nginx.
const OTHER: &str = "another.example";
/// After this nginx passes on what the first upstream said, as paybell.conf has it.
const NEXT_UPSTREAM_TIMEOUT: Duration = Duration::from_millis(1_500);
/// WeChat gives up after this.
const WECHAT_PATIENCE: Duration = Duration::from_secs(5);
/// So long nginx leaves out an upstream that failed, and a little more.
const FORGOTTEN: Duration = Duration::from_millis(2_100);

/// nginx; of its three upstreams one is an ingress, one answers 503, and nobody listens on the third.
struct Door {
    guard: Guard,
    port: u16,
}

impl Door {
    fn open(nginx: &Path) -> Self {
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

        certificate(&folder, NAME, "");
        certificate(&folder, OTHER, "other-");
        let (v4, tls) = (format!("listen 127.0.0.1:{port} ssl"), format!("{}/", shown(&folder)));
        let (busy, dead) = (always_busy().to_string(), guard.port(3).to_string());
        let ingress = ingress.to_string();
        let places = [
            ("listen 443 ssl", &*v4),
            // Not every machine has the other family.
            ("listen [::]:443 ssl default_server;", ""),
            ("/etc/nginx/tls/pay.example.com/", &tls),
            ("127.0.0.1:8080", &format!("127.0.0.1:{busy}")),
            ("127.0.0.1:8180", &format!("127.0.0.1:{ingress}")),
            ("127.0.0.1:8181", &format!("127.0.0.1:{dead}")),
        ];
        guard.write("site.conf", &moved(&read("deploy/nginx/paybell.conf"), &places));
        // One process, so that its end is the end of all of it. A site that comes first in the alphabet stands before ours.
        guard.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\n\
                 http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
                 fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n\
                 server {{ {v4}; server_name {OTHER};\n\
                 ssl_certificate other-fullchain.pem; ssl_certificate_key other-privkey.pem; }}\n\
                 include site.conf; }}\n"
            ),
        );
        guard.launch("nginx", port, &format!("{1} -p {0} -c {0}/nginx.conf", shown(&folder), shown(nginx)));
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
        self.judged(&format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, body: &str) -> String {
        self.judged(&notification(body))
    }

    /// As WeChat does it: comes again where nginx had no time to try another upstream.
    fn judged(&self, request: &str) -> String {
        for _ in 0..20 {
            let begun = Instant::now();
            let answer = self.send(request);
            if !answer.starts_with("HTTP/1.1 50") || begun.elapsed() < NEXT_UPSTREAM_TIMEOUT {
                return answer;
            }
        }
        panic!("nginx never had time for a second upstream");
    }
}

fn notification(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /notify/pay HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// Writes PREFIXfullchain.pem and PREFIXprivkey.pem.
fn certificate(folder: &Path, name: &str, prefix: &str) {
    let (key, chain) = (format!("{prefix}privkey.pem"), format!("{prefix}fullchain.pem"));
    output_of(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &chain])
            .current_dir(folder),
    );
}

/// The port of an ingress that answers as one does whose queue is away. Its thread ends with this process.
fn always_busy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            drop(stream.read_exact(&mut vec![0; length]));
            let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            drop(stream.get_mut().write_all(answer.as_bytes()));
        }
    });
    port
}

#[track_caller]
fn is_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}, got {answer:?}");
}

#[test]
fn only_what_wechat_needs_passes() {
    let Some(nginx) = installed("nginx") else { return };
    let mut door = Door::open(&nginx);
    // The ingress itself answers, and although two of three upstreams cannot, it answers every time.
    for _ in 0..6 {
        let answer = door.post("<xml><return_code>SUCCESS</return_code></xml>");
        is_status(&answer, 401);
        assert!(answer.contains("<![CDATA[FAIL]]>"), "{answer}");
    }
    // Between sparse ones nginx forgets who failed: whichever of the two comes first then, the ingress still answers.
    for _ in 0..9 {
        thread::sleep(FORGOTTEN);
        is_status(&door.post("<xml><return_code>SUCCESS</return_code></xml>"), 401);
    }
    is_status(&door.get("/notify/pay"), 405);
    is_status(&door.get("/notify/refund"), 405);
    is_status(&door.get("/healthz"), 200);
    for path in ["/", "/metrics", "/readyz", "/v1/orders", "/healthz/x", "/notify"] {
        is_status(&door.get(path), 404);
    }

    let body = |bytes: usize| format!("<xml>{}", "x".repeat(bytes - 5));
    is_status(&door.post(&body(64 * 1024)), 400);
    let refused = door.post(&body(64 * 1024 + 1));
    is_status(&refused, 413);
    assert!(!refused.contains("<xml>"), "it went through to the ingress: {refused}");

    door.guard.tell("kill ingress");
    // Of three, for a machine that stands still.
    let waits = [(); 3].map(|()| {
        let begun = Instant::now();
        let answer = door.send(&notification("<xml></xml>"));
        assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
        begun.elapsed()
    });
    assert!(waits.iter().any(|wait| *wait < WECHAT_PATIENCE), "WeChat is gone by then: {waits:?}");
}

#[test]
fn callers_without_sni_get_our_certificate() {
    let Some(nginx) = installed("nginx") else { return };
    let door = Door::open(&nginx);
    for name in [&["-noservername"][..], &["-servername", NAME], &["-servername", "unknown.example"]] {
        let connect = format!("127.0.0.1:{}", door.port);
        let said = output_of(Command::new("openssl").args(["s_client", "-connect", &connect]).args(name));
        assert!(said.contains(&format!("subject=CN = {NAME}")), "{name:?}: {said}");
    }
}
