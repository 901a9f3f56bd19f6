//! nginx/shadow.conf in front of a handler and a Paybell in shadow mode: WeChat hears the handler and nobody else, whatever
//! becomes of Paybell, and Paybell gets every notification whole.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use wechat_pay::{
    sign::{Algorithm, ApiKey, sign},
    xml,
};

use crate::{
    configuration::paybell,
    guard::{Guard, moved, shown},
    installed, read,
};

const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
const SUCCESS: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>";
/// WeChat gives up after 5 s; a handler that answers at once must be heard at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Ends with its owner.
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shop's own handler: answers with a status that a test chooses, and counts.
#[derive(Clone)]
struct Handler {
    port: u16,
    status: Arc<AtomicU16>,
    heard: Arc<AtomicUsize>,
}

impl Handler {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let handler = Self {
            port: listener.local_addr().unwrap().port(),
            status: Arc::new(AtomicU16::new(200)),
            heard: Arc::default(),
        };
        let its = handler.clone();
        // Its thread ends with this process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                its.serve(stream);
            }
        });
        handler
    }

    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let body = body_of(&mut stream);
        assert!(body.contains("out_trade_no"), "the handler gets the whole body: {body}");
        self.heard.fetch_add(1, Ordering::SeqCst);
        let status = self.status.load(Ordering::SeqCst);
        let length = SUCCESS.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{SUCCESS}");
        drop(stream.get_mut().write_all(answer.as_bytes()));
    }
}

/// Reads a head and its body.
fn body_of(stream: &mut impl BufRead) -> String {
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// nginx with the handler and Paybell behind it.
struct Site {
    handler: Handler,
    paybell: Process,
    port: u16,
    admin: u16,
    _guard: Guard,
}

impl Site {
    fn open(nginx: &Path) -> Self {
        let mut guard = Guard::start("tests/deploy/guarded");
        let (port, ingress, admin) = (guard.port(0), guard.port(1), guard.port(2));
        let config = guard.write(
            "paybell.toml",
            &format!(
                "mode = \"shadow\"\nembedded.data_dir = \"{}/data\"\ningress.listen = \"127.0.0.1:{ingress}\"\n\
                 admin.listen = \"127.0.0.1:{admin}\"\nconsole.listen = \"127.0.0.1:0\"\n\
                 wechat.base_urls = [\"http://127.0.0.1:9\"]\n\
                 [[merchant]]\nmch_id = \"1900000109\"\napp_ids = [\"wx8888888888888888\"]\napi_key = \"{KEY}\"\n",
                shown(&guard.folder)
            ),
        );
        let mut command = paybell();
        command.args(["run", "--config", shown(&config)]).stdout(Stdio::null()).stderr(Stdio::null());
        let (paybell, handler) = (Process(command.spawn().unwrap()), Handler::open());
        let places = [
            ("http://127.0.0.1:9000", &*format!("http://127.0.0.1:{}", handler.port)),
            ("http://127.0.0.1:8080/", &format!("http://127.0.0.1:{ingress}/")),
        ];
        guard.write("shadow.conf", &moved(&read("deploy/nginx/shadow.conf"), &places));
        guard.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\n\
                 http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f;\n\
                 uwsgi_temp_path u; scgi_temp_path s;\nserver {{ listen 127.0.0.1:{port}; include shadow.conf; }} }}\n"
            ),
        );
        guard.launch(
            "nginx",
            port,
            &format!("{1} -p {0} -c {0}/nginx.conf", shown(&guard.folder), shown(nginx)),
        );
        let site = Self { handler, paybell, port, admin, _guard: guard };
        site.until("paybell is ready", |site| site.admin("/readyz").starts_with("HTTP/1.1 200"));
        site
    }

    /// A notification to the notify_url of today; the answer and how long it took.
    fn notify(&self, out_trade_no: &str) -> (String, Duration) {
        let fields = [
            ("appid", "wx8888888888888888"),
            ("attach", "x"),
            ("mch_id", "1900000109"),
            ("out_trade_no", out_trade_no),
            ("result_code", "SUCCESS"),
            ("return_code", "SUCCESS"),
            ("time_end", "20261120120003"),
            ("total_fee", "1999"),
            ("transaction_id", "4200001234202611201234567890"),
        ];
        let sign = sign(fields, &ApiKey::new(KEY).unwrap(), Algorithm::Md5);
        let body = xml::write(fields.into_iter().chain([("sign", sign.as_str())]));
        let length = body.len();
        let head = format!("POST /wxpay/notify.php HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let begun = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut status = String::new();
        stream.read_line(&mut status).unwrap();
        (format!("{status}{}", body_of(&mut stream)), begun.elapsed())
    }

    /// In the best of three tries: what waits for Paybell waits in each. How many it took.
    #[track_caller]
    fn is_heard_at_once(&self, out_trade_no: &str) -> usize {
        let mut took = Vec::new();
        while took.len() < 3 {
            let (answer, of_this) = self.notify(&format!("{out_trade_no}-{}", took.len()));
            assert!(answer.ends_with(SUCCESS), "{of_this:?}: {answer}");
            took.push(of_this);
            if of_this < AT_ONCE {
                return took.len();
            }
        }
        panic!("{out_trade_no}: {took:?}");
    }

    fn admin(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.admin)) else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer));
        answer
    }

    fn has_accepted(&self, count: usize) -> bool {
        let sample =
            format!("paybell_notifications_total{{mch_id=\"1900000109\",result=\"accepted\"}} {count}");
        self.admin("/metrics").lines().any(|line| line == sample)
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn wechat_hears_the_old_handler_and_paybell_gets_a_copy() {
    let Some(nginx) = installed("nginx") else { return };
    let site = Site::open(&nginx);
    let (answer, _) = site.notify("T1");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(SUCCESS), "{answer}");
    site.until("the copy arrives, authentic", |site| site.has_accepted(1));

    // The handler's fault is WeChat's to repeat: nothing of ours covers it up.
    site.handler.status.store(500, Ordering::SeqCst);
    assert!(site.notify("T2").0.starts_with("HTTP/1.1 500"));
    site.until("the copy arrives all the same", |site| site.has_accepted(2));
    site.handler.status.store(200, Ordering::SeqCst);

    // Hanging, then gone: the handler is heard at once.
    site.paybell.signal("STOP");
    let hanging = ["T3", "T4"].map(|order| site.is_heard_at_once(order));
    site.paybell.signal("KILL");
    let told = 2 + hanging.into_iter().sum::<usize>() + site.is_heard_at_once("T5");
    assert_eq!(site.handler.heard.load(Ordering::SeqCst), told, "each once");
}
