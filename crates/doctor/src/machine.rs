//! This machine: where the embedded engine writes, and how many connections a process may hold. Writes one small file
//! into the folder and takes it away again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::finding::{Finding, Text};
use crate::random;

const MEBIBYTE: u64 = 1024 * 1024;
const FREE_WARNING: u64 = 1024 * MEBIBYTE;
const FREE_ERROR: u64 = 200 * MEBIBYTE;

/// A notification is answered after one flush; WeChat waits 5 s, and a hundred may wait for the same one.
const FLUSH_WARNING: Duration = Duration::from_millis(50);
const FLUSH_ERROR: Duration = Duration::from_millis(500);
const FLUSHES: usize = 5;

/// Notifications that an ingress holds at once, each on a connection.
const FILES_GOOD: u64 = 4_096;

/// File systems that lie in the network, by their numbers in statfs(2): NFS, SMB (three), CephFS, FUSE (often a network).
const NETWORK_TYPES: [(i64, &str); 6] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x00c3_6400, "CephFS"),
    (0x6573_5546, "FUSE"),
];

/// Looks at the folder of the embedded engine. Blocks for as long as the disk takes.
#[must_use]
pub fn folder(data_dir: &Path) -> Vec<Finding> {
    let about = data_dir.display().to_string();
    let Some(place) = existing(data_dir) else {
        return vec![unwritable(&about, "no such folder", None)];
    };
    let mut findings = Vec::new();
    match free_bytes(&place) {
        Ok(free) => findings.push(of_space(&about, free)),
        Err(cause) => findings.push(unwritable(&about, &cause.to_string(), None)),
    }
    if let Ok(stat) = rustix::fs::statfs(&place) {
        findings.extend(of_type(&about, stat.f_type));
    }
    match flush_time(&place) {
        Ok(took) => findings.push(of_flush(&about, took)),
        Err(cause) => findings.push(unwritable(&about, &cause.to_string(), holder(data_dir).as_deref())),
    }
    findings
}

/// How many files the service may open: its own limit if it runs here, otherwise ours.
#[must_use]
pub fn files(data_dir: &Path) -> Finding {
    let of_service =
        holder(data_dir).and_then(|id| limit_of(Path::new("/proc").join(id).join("limits").as_path()));
    match of_service {
        Some(limit) => of_limit(limit, Whose::Service),
        None => of_limit(
            rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX),
            Whose::Shell,
        ),
    }
}

/// The folder, or the nearest one above it that is there: it is made at the first start.
fn existing(data_dir: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(data_dir).ok()?;
    absolute.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn of_space(about: &str, free: u64) -> Finding {
    let mib = free / MEBIBYTE;
    let (seen_en, seen_zh) = (format!("{mib} MiB free"), format!("剩余 {mib} MiB"));
    let remedy_en =
        "free or add space; when it ends, notifications are answered 503 until there is room again";
    let remedy_zh = "请清理或扩容；空间耗尽后通知会返回 503，直到有空间为止";
    if free < FREE_ERROR {
        Finding::error("disk-full", about).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else if free < FREE_WARNING {
        Finding::warning("disk-full", about).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else {
        Finding::ok("disk-space-good", about).seen(seen_en, seen_zh)
    }
}

fn of_type(about: &str, kind: i64) -> Option<Finding> {
    let (_, name) = NETWORK_TYPES.iter().find(|(number, _)| *number == kind)?;
    Some(
        Finding::error("disk-in-network", about)
            .seen(
                format!("the folder lies on {name}: SQLite's locks and write-ahead log do not hold there"),
                format!("该目录位于 {name}：SQLite 的锁和 WAL 在其上不可靠"),
            )
            .remedy(
                "put embedded.data_dir on a local disk or a block device, or use the cluster engine",
                "请把 embedded.data_dir 放到本地磁盘或块设备，或改用 cluster 引擎",
            ),
    )
}

/// The middle one of a few flushes of a small file.
fn flush_time(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".paybell-doctor-{}", random::letters(8)));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let measured = flushes(file);
    fs::remove_file(&path)?;
    let mut times = measured?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn flushes(mut file: File) -> io::Result<Vec<Duration>> {
    let page = [b'x'; 4096];
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let begun = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn of_flush(about: &str, took: Duration) -> Finding {
    let ms = took.as_millis();
    let (seen_en, seen_zh) =
        (format!("a flush (fsync) takes {ms} ms"), format!("一次落盘（fsync）需 {ms} 毫秒"));
    let remedy_en = "every answer to WeChat waits for one: use an SSD or a better volume, and keep backups and logs off it";
    let remedy_zh = "对微信的每个应答都要等待一次落盘：请使用 SSD 或更快的云盘，备份和日志放到别处";
    if took > FLUSH_ERROR {
        Finding::error("disk-slow", about).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else if took > FLUSH_WARNING {
        Finding::warning("disk-slow", about).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else {
        Finding::ok("disk-speed-good", about).seen(seen_en, seen_zh)
    }
}

fn unwritable(about: &str, cause: &str, holder: Option<&str>) -> Finding {
    let finding = match holder {
        // The service writes there as another user.
        Some(_) => Finding::unseen("data-dir-unwritable", about),
        None => Finding::error("data-dir-unwritable", about),
    };
    finding
        .seen(format!("this user cannot write there: {cause}"), format!("当前用户无法写入：{cause}"))
        .remedy(
            "run the doctor as the user of the service (sudo -u paybell), or give it the folder: chown",
            "请以服务的用户运行（sudo -u paybell），或用 chown 授权该目录",
        )
}

/// The number of the process that holds the folder, where it is still there.
fn holder(data_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(data_dir.join("paybell.lock")).ok()?;
    let id = text.strip_prefix("process ")?.split_whitespace().next()?.to_owned();
    Path::new("/proc").join(&id).is_dir().then_some(id)
}

fn limit_of(limits: &Path) -> Option<u64> {
    let text = fs::read_to_string(limits).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// The limit of the service that runs here, or of what is started from this terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Service,
    Shell,
}

fn of_limit(limit: u64, whose: Whose) -> Finding {
    let about = match whose {
        Whose::Service => Text::new("the service", "服务"),
        Whose::Shell => Text::new("a process started here", "在此启动的进程"),
    };
    let (of_en, of_zh) = (about.en.clone(), about.zh.clone());
    if limit >= FILES_GOOD {
        return Finding::ok("files-good", about)
            .seen(format!("{of_en} may open {limit} files"), format!("{of_zh}可打开 {limit} 个文件"));
    }
    Finding::warning("files-few", about)
        .seen(
            format!("{of_en} may open only {limit} files; a burst of notifications needs one each"),
            format!("{of_zh}只能打开 {limit} 个文件；通知高峰时每个连接占用一个"),
        )
        .remedy(
            "LimitNOFILE=65536 in the unit (ours has it), or ulimit -n 65536",
            "在 systemd 单元中设置 LimitNOFILE=65536（自带的单元已设置），或 ulimit -n 65536",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_folder_is_good_and_left_as_it_was() {
        let folder_of_test = tempfile::tempdir().unwrap();
        let data_dir = folder_of_test.path().join("not/made/yet");
        let findings = folder(&data_dir);
        let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
        assert!(
            codes.iter().any(|code| code.starts_with("disk-")) && !codes.contains(&"data-dir-unwritable"),
            "{codes:?}"
        );
        assert_eq!(fs::read_dir(folder_of_test.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn space_speed_and_limits_are_judged() {
        let severity = |finding: Finding| (finding.code, finding.severity.as_str());
        assert_eq!(severity(of_space("d", 2048 * MEBIBYTE)), ("disk-space-good", "ok"));
        assert_eq!(severity(of_space("d", 500 * MEBIBYTE)), ("disk-full", "warning"));
        assert_eq!(severity(of_space("d", 100 * MEBIBYTE)), ("disk-full", "error"));
        assert_eq!(severity(of_flush("d", Duration::from_millis(4))), ("disk-speed-good", "ok"));
        assert_eq!(severity(of_flush("d", Duration::from_millis(80))), ("disk-slow", "warning"));
        assert_eq!(severity(of_flush("d", Duration::from_millis(800))), ("disk-slow", "error"));
        assert_eq!(severity(of_limit(1_024, Whose::Shell)), ("files-few", "warning"));
        assert_eq!(severity(of_limit(65_536, Whose::Service)), ("files-good", "ok"));
        assert_eq!(of_type("d", 0x6969).unwrap().code, "disk-in-network");
        assert!(of_type("d", 0xef53).is_none(), "ext4");
    }

    #[test]
    fn a_folder_that_is_a_file_or_read_only_is_told() {
        let folder_of_test = tempfile::tempdir().unwrap();
        let told = unwritable("/data", "permission denied", None);
        assert_eq!((told.code, told.severity.as_str()), ("data-dir-unwritable", "error"));
        let told = unwritable("/data", "permission denied", Some("1"));
        assert_eq!(told.severity.as_str(), "not-looked-at", "a service that holds it can write");
        let findings = folder(Path::new("/proc/paybell-cannot-write-here"));
        assert!(findings.iter().any(|finding| finding.code == "data-dir-unwritable"), "{findings:?}");
        drop(folder_of_test);
    }

    #[test]
    fn the_limit_of_the_holder_is_read() {
        let folder_of_test = tempfile::tempdir().unwrap();
        let text = format!("process {} since 2026-11-20T12:00:00+08:00", std::process::id());
        fs::write(folder_of_test.path().join("paybell.lock"), text).unwrap();
        assert_eq!(holder(folder_of_test.path()), Some(std::process::id().to_string()));
        assert!(limit_of(Path::new("/proc/self/limits")).unwrap() > 0);
        assert_eq!(files(folder_of_test.path()).about.en, "the service");
        fs::write(folder_of_test.path().join("paybell.lock"), "process 4194305 since").unwrap();
        assert_eq!(holder(folder_of_test.path()), None, "a process that ended holds nothing");
        assert_eq!(files(folder_of_test.path()).about.en, "a process started here");
    }
}
