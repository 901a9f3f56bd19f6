//! A TCP proxy on loopback that can fall silent, cut, or refuse: the network between us and a server. It knows nothing
//! of protocols, and loses no byte of a connection that lives: silence holds bytes back, as a network that drops
//! packets does, because TCP sends them again afterwards.
//!
//! Plain threads, so that a test's runtime has no part in it, and a blocked test does not stop it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use super::ports;

const CHUNK_BYTES: usize = 16 * 1024;

/// Between a client and `127.0.0.1:target`. Dropping it cuts everything.
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
}

struct Network {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    is_listening: bool,
    /// Why the port could not be had again: this proxy is at its end.
    lost: Option<String>,
    /// Rises with every cut: a connection of an older one ends.
    cuts: u64,
    streams: Vec<Weak<TcpStream>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Speaks,
    IsSilent,
    Refuses,
    Ended,
}

impl Proxy {
    pub fn start(target: u16) -> Self {
        let listener = ports::listen();
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let state =
            State { mode: Mode::Speaks, is_listening: true, lost: None, cuts: 0, streams: Vec::new() };
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
        let network = Arc::new(Network { target, state: Mutex::new(state), changed: Condvar::new() });
        let accepting = network.clone();
        thread::spawn(move || accepting.accept_for_ever(listener, port));
        Self { port, network }
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL of the server, led through here: its only `:TARGET_PORT` becomes ours.
    pub fn through(&self, url: &str) -> String {
        let (theirs, ours) = (format!(":{}", self.network.target.port()), format!(":{}", self.port));
        assert_eq!(url.matches(&theirs).count(), 1, "{url} does not lead to 127.0.0.1{theirs}");
        url.replace(&theirs, &ours)
    }

    /// From now on nothing passes in either direction; connections stay open, new ones are taken and hear nothing.
    pub fn silence(&self) {
        self.network.become_mode(Mode::IsSilent, self.port);
    }

    /// Everything passes again, what was held back too; also ends `refuse`.
    pub fn speak(&self) {
        self.network.become_mode(Mode::Speaks, self.port);
    }

    /// Closes every connection; new ones are as before.
    pub fn cut(&self) {
        self.network.cut();
    }

    /// Closes every connection, and refuses new ones.
    pub fn refuse(&self) {
        self.network.become_mode(Mode::Refuses, self.port);
        self.network.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.become_mode(Mode::Ended, self.port);
        self.network.cut();
    }
}

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while it is so.
    fn wait_while(&self, mut is_so: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.state(), |state| is_so(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the listener is open or closed as the mode says.
    fn become_mode(&self, mode: Mode, port: u16) {
        self.state().mode = mode;
        self.changed.notify_all();
        let should_listen = matches!(mode, Mode::Speaks | Mode::IsSilent);
        if !should_listen {
            // Wakes the thread that waits for a connection.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        }
        let state = self.wait_while(|state| {
            state.mode == mode
                && state.is_listening != should_listen
                && (state.lost.is_none() || !should_listen)
        });
        let lost = state.lost.clone();
        drop(state);
        if let Some(lost) = lost.filter(|_| should_listen) {
            panic!("{lost}");
        }
    }

    fn cut(&self) {
        let streams = {
            let mut state = self.state();
            state.cuts += 1;
            std::mem::take(&mut state.streams)
        };
        for stream in streams.iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    fn accept_for_ever(self: Arc<Self>, first: TcpListener, port: u16) {
        let mut listener = first;
        loop {
            for client in listener.incoming().map_while(Result::ok) {
                if matches!(self.state().mode, Mode::Refuses | Mode::Ended) {
                    break;
                }
                let network = self.clone();
                thread::spawn(move || network.connect(Arc::new(client)));
            }
            drop(listener);
            self.state().is_listening = false;
            self.changed.notify_all();
            if self.wait_while(|state| state.mode == Mode::Refuses).mode == Mode::Ended {
                return;
            }
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            listener = match bound {
                Ok(listener) => listener,
                Err(error) => {
                    // Whoever has the proxy speak is told: a panic here nobody would see.
                    self.state().lost = Some(format!("port {port} was taken meanwhile: {error}"));
                    self.changed.notify_all();
                    return;
                }
            };
            self.state().is_listening = true;
            self.changed.notify_all();
        }
    }

    /// One connection: in silence its other half waits.
    fn connect(self: Arc<Self>, client: Arc<TcpStream>) {
        let cuts = self.state().cuts;
        if !self.adopt(&client, cuts) {
            return;
        }
        drop(self.wait_while(|state| state.mode == Mode::IsSilent && state.cuts == cuts));
        let server = TcpStream::connect(self.target).map(Arc::new).ok();
        let Some(server) = server.filter(|server| self.adopt(server, cuts)) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        let (network, answers, hearer) = (self.clone(), server.clone(), client.clone());
        thread::spawn(move || network.pump(&answers, &hearer, cuts));
        self.pump(&client, &server, cuts);
    }

    /// Remembers a stream so that it can be cut; `false` if there was a cut meanwhile.
    fn adopt(&self, stream: &Arc<TcpStream>, cuts: u64) -> bool {
        let _ = stream.set_nodelay(true);
        let mut state = self.state();
        state.streams.retain(|stream| stream.strong_count() > 0);
        state.streams.push(Arc::downgrade(stream));
        state.cuts == cuts
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, cuts: u64) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).unwrap_or(0);
            let state = self.wait_while(|state| state.mode == Mode::IsSilent && state.cuts == cuts);
            let is_cut = state.cuts != cuts;
            drop(state);
            let bytes = chunk.get(..length).unwrap_or_default();
            if is_cut || bytes.is_empty() || to.write_all(bytes).is_err() {
                break;
            }
        }
        // The end of a direction passes like a byte.
        let _ = to.shutdown(Shutdown::Write);
    }
}
