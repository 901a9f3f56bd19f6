//! A disk that is full, and a file that somebody else holds: nothing is acknowledged that is not stored, and the process
//! lives until there is space again.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::harness::{
    Answer, Notification, SUCCESS, Say, Settings, Shop, Stalls, eventually, get, skip, wait_for,
};

const TRY_AGAIN: &str =
    "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[TRY AGAIN]]></return_msg></xml>";

/// A small disk in memory, unmounted with its owner.
struct SmallDisk {
    folder: Option<TempDir>,
}

impl SmallDisk {
    /// `None` where we may not mount.
    fn of(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { folder: Some(folder) })
    }

    fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Takes all the space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        drop(self.folder.take());
    }
}

#[test]
fn a_full_disk_answers_503_and_recovers_when_there_is_space() {
    let Some(disk) = SmallDisk::of("4m") else {
        skip("a full disk needs `mount -t tmpfs`, which this user may not; run the tests as root");
        return;
    };
    let data_dir = disk.path().join("data");
    let mut shop = Shop::open(&Settings { data_dir: Some(data_dir), ..Settings::default() });
    shop.pay_and_notify("BEFORE", 1999);
    shop.event("BEFORE", "order.paid");
    let ballast = disk.fill();
    // What still fits into the file's own reserve may be taken; then nothing is.
    let mut taken = Vec::new();
    let refused: Answer = wait_for("the first refusal", || {
        let order = format!("FULL{}", taken.len());
        shop.wechat.says(&order, Say::paid(&order, 1999));
        let answer = shop.notify_once(Notification::of(&order, 1999).signed());
        if answer.status == 503 {
            return Some(answer);
        }
        assert_eq!(answer.body, SUCCESS, "{answer:?}");
        taken.push(order);
        None
    });
    assert_eq!(refused.body, TRY_AGAIN);
    let ingress = shop.service.address("ingress");
    assert_eq!(get(ingress, "/healthz").status, 200, "the process lives");
    assert!(shop.service.process.is_running());

    std::fs::remove_file(ballast).unwrap();
    shop.wechat.says("AFTER", Say::paid("AFTER", 1999));
    eventually("notifications are taken again", || {
        shop.notify_once(Notification::of("AFTER", 1999).signed()).body == SUCCESS
    });
    shop.event("AFTER", "order.paid");
    for order in &taken {
        shop.event(order, "order.paid");
    }
    shop.service.process.signal("TERM");
    assert_eq!(shop.service.process.ended().0.code(), Some(0));
}

#[test]
fn a_file_that_somebody_else_writes_answers_503_until_it_is_free() {
    let shop = Shop::open(&Settings::default());
    shop.pay_and_notify("BEFORE", 1999);
    shop.event("BEFORE", "order.paid");
    let intruder = rusqlite::Connection::open(shop.folder.path().join("data/paybell.db")).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (stalls, begun) = (Stalls::watch(shop.service.address("ingress")), Instant::now());
    let refused = shop.notify_once(Notification::of("LOCKED", 1999).signed());
    assert_eq!((refused.status, refused.body.as_str()), (503, TRY_AGAIN));
    let ended = Instant::now();
    let took = stalls.end().own_time(begun, ended);
    assert!(took < Duration::from_secs(5), "WeChat waits 5 s: {took:?}");
    // Reading goes on meanwhile.
    assert_eq!(shop.types_of("BEFORE"), ["order.paid"]);
    intruder.execute_batch("ROLLBACK").unwrap();
    shop.wechat.says("AFTER", Say::paid("AFTER", 1999));
    eventually("notifications are taken again", || {
        shop.notify_once(Notification::of("AFTER", 1999).signed()).body == SUCCESS
    });
    shop.event("AFTER", "order.paid");
}
