//! Whose confirm a confirm is: many threads publish on one channel, and the broker takes one message and refuses the next.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use paybell_core::check::Check;
use rabbitmq::RabbitConfig;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::common::{PATIENCE, Process, end, fresh, manual};

/// One connection through a judge between us and the broker. It tells publishers itself what becomes of their messages,
/// by their content: those of even orders are taken, those of odd ones refused. What the broker says of them it keeps to
/// itself.
#[derive(Clone)]
struct Case {
    client: Arc<Mutex<TcpStream>>,
    broker: Arc<TcpStream>,
}

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Class and method, as they begin a method frame.
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const ACK: [u8; 4] = [0, 60, 0, 80];
const NACK: [u8; 4] = [0, 60, 0, 120];

struct Frame {
    kind: u8,
    channel: u16,
    payload: Vec<u8>,
}

/// The broker's URL, through a judge that lasts as long as this process.
fn judged(url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (head, tail) = url.rsplit_once(':').unwrap();
    let (broker, path) = tail.split_once('/').unwrap();
    let (broker, through) = (broker.parse().unwrap(), format!("{head}:{port}/{path}"));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            Case::open(client, broker);
        }
    });
    through
}

impl Case {
    fn open(client: TcpStream, broker: u16) {
        let broker = Arc::new(TcpStream::connect(("127.0.0.1", broker)).unwrap());
        let from_client = client.try_clone().unwrap();
        let case = Self { client: Arc::new(Mutex::new(client)), broker };
        let judging = case.clone();
        thread::spawn(move || judging.ended(judging.up(from_client)));
        thread::spawn(move || case.ended(case.down()));
    }

    fn ended(&self, _: std::io::Result<()>) {
        let _ = self.broker.shutdown(Shutdown::Both);
        let _ = self.client.lock().unwrap().shutdown(Shutdown::Both);
    }

    /// To the broker. Counts the messages of each channel, as a broker does: in the order in which they come.
    fn up(&self, mut client: TcpStream) -> std::io::Result<()> {
        let (mut counts, mut bodies) = (HashMap::<u16, u64>::new(), HashMap::<u16, (usize, Vec<u8>)>::new());
        let mut greeting = [0; 8];
        client.read_exact(&mut greeting)?;
        (&*self.broker).write_all(&greeting)?;
        loop {
            let frame = Frame::read(&mut client)?;
            match frame.kind {
                METHOD if frame.payload.starts_with(&PUBLISH) => {
                    *counts.entry(frame.channel).or_default() += 1
                }
                HEADER => {
                    let size = usize::from_be_bytes(frame.payload[4..12].try_into().unwrap());
                    bodies.insert(frame.channel, (size, Vec::new()));
                }
                BODY => {
                    let (size, body) = bodies.get_mut(&frame.channel).unwrap();
                    body.extend_from_slice(&frame.payload);
                    if body.len() == *size {
                        let method = if is_even(&Check::from_json(body).unwrap()) { ACK } else { NACK };
                        let tag = counts[&frame.channel].to_be_bytes();
                        let payload = [method.as_slice(), &tag, &[0]].concat();
                        let told = Frame { kind: METHOD, channel: frame.channel, payload };
                        told.write(&mut *self.client.lock().unwrap())?;
                    }
                }
                _ => {}
            }
            frame.write(&mut &*self.broker)?;
        }
    }

    fn down(&self) -> std::io::Result<()> {
        loop {
            let frame = Frame::read(&mut &*self.broker)?;
            let is_confirm = frame.payload.starts_with(&ACK) || frame.payload.starts_with(&NACK);
            if !(frame.kind == METHOD && is_confirm) {
                frame.write(&mut *self.client.lock().unwrap())?;
            }
        }
    }
}

impl Frame {
    fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let mut head = [0; 7];
        from.read_exact(&mut head)?;
        let [kind, high, low, size @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap() + 1];
        from.read_exact(&mut payload)?;
        assert_eq!(payload.pop(), Some(0xCE), "a frame has an end");
        Ok(Self { kind, channel: u16::from_be_bytes([high, low]), payload })
    }

    fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let size = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let channel = self.channel.to_be_bytes();
        to.write_all(&[&[self.kind], channel.as_slice(), &size, &self.payload, &[0xCE]].concat())
    }
}

fn is_even(check: &Check) -> bool {
    check.key.out_trade_no.as_str().ends_with(['0', '2', '4', '6', '8'])
}

/// SUCCESS is answered on the strength of a confirm: one that belongs to another message is a lost payment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_told_what_became_of_another_s_check() {
    let broker = fresh().await;
    let config = RabbitConfig { url: judged(&broker.url), partitions: 1, ..broker.clone() };
    let process = Process::publisher(&config).await;
    let mut tasks = JoinSet::new();
    for first in 0..64 {
        let queue = process.queue.clone();
        tasks.spawn(async move {
            let mut stored = Vec::new();
            for number in (first..4_000).step_by(64) {
                loop {
                    match queue.publish(&[manual(number)]).await {
                        Ok(()) => stored.push(number),
                        Err(error) if error.to_string().contains("refused a publish") => {}
                        // The machine was late, and perhaps the connection is given up for it: nothing is told.
                        Err(_) => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            continue;
                        }
                    }
                    break;
                }
            }
            stored
        });
    }
    let stored = timeout(PATIENCE, tasks.join_all()).await.expect("everybody is told");
    let stored: BTreeSet<usize> = stored.into_iter().flatten().collect();
    let refused: Vec<&usize> = stored.iter().filter(|number| *number % 2 == 1).collect();
    assert_eq!(refused.len(), 0, "told to be stored, and refused: {:?} …", &refused[..refused.len().min(9)]);
    assert_eq!(stored.len(), 2_000, "told to be refused, and stored");
    end(&RabbitConfig { partitions: 1, ..broker }, [process]).await;
}
