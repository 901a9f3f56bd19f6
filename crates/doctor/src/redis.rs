//! What a Redis' facts mean for us: it holds the registered amounts and all due times, so it must keep what it is told.
//! Asks nothing itself.

use redis_ledger::probe::{Facts, Unasked};

use crate::clocks;
use crate::finding::Finding;
use crate::rabbit::numbers;
use crate::wechat::Skew;

const VERSION_MIN: (u32, u32) = (6, 2);

/// Shares of `maxmemory`, in percent.
const MEMORY_WARNING: u64 = 80;
const MEMORY_ERROR: u64 = 95;

/// Judges what was found.
#[must_use]
pub fn judge(outcome: &Result<Facts, Unasked>) -> Vec<Finding> {
    let facts = match outcome {
        Ok(facts) => facts,
        Err(error) => return vec![unasked(error)],
    };
    let mut findings = server(facts);
    findings.push(persistence(facts));
    findings.extend(fsync(facts));
    findings.push(eviction(facts));
    findings.push(memory(facts));
    findings.extend(replicas(facts));
    findings.push(clock(facts));
    findings
}

fn unasked(error: &Unasked) -> Finding {
    match error {
        Unasked::Away(cause) => Finding::error("redis-unreachable", "redis.url").seen(cause, format!("无法使用：{cause}")).remedy(
            "start Redis (systemctl status redis-server), open its port from here, compare redis.url; with sentinels all of them are asked",
            "启动 Redis（systemctl status redis-server），放行端口，核对 redis.url；哨兵模式下会逐一询问",
        ),
        Unasked::Denied(cause) => Finding::error("redis-denied", "redis.url")
            .seen(format!("Redis refuses us: {cause}"), format!("Redis 拒绝访问：{cause}"))
            .remedy(
                "check user and password in redis.url (redis://USER:PASSWORD@HOST); the ACL must allow the prefix, scripts, INFO and TIME",
                "检查 redis.url 中的用户名和密码（redis://用户:密码@主机）；ACL 须允许该前缀、脚本、INFO 和 TIME",
            ),
    }
}

fn server(facts: &Facts) -> Vec<Finding> {
    let about = facts.server.as_str();
    let version = facts.version.as_deref().unwrap_or("?");
    let mut findings = Vec::new();
    if facts.is_cluster {
        let finding = Finding::error("redis-cluster", about)
            .seen("this is a node of a Redis Cluster", "这是 Redis Cluster 的节点")
            .remedy(
                "use a single server, or a master with sentinels (redis+sentinel://)",
                "请使用单机，或哨兵模式（redis+sentinel://）",
            );
        findings.push(finding);
    }
    if !facts.is_master {
        let finding = Finding::error("redis-is-replica", about)
            .seen("this server is a replica and takes no writes", "这是从节点，不能写入")
            .remedy(
                "name the master in redis.url, or the sentinels, who know it",
                "请在 redis.url 中填写主节点，或填写哨兵地址",
            );
        findings.push(finding);
    }
    findings.push(match numbers(version) {
        Some(found) if found < VERSION_MIN => Finding::error("redis-version-old", about)
            .seen(
                format!("Redis {version}; Paybell needs 6.2"),
                format!("Redis {version}，Paybell 需要 6.2 以上"),
            )
            .remedy("upgrade it", "请升级"),
        _ => Finding::ok("redis-version-good", about)
            .seen(format!("Redis {version}"), format!("Redis {version}")),
    });
    findings
}

fn persistence(facts: &Facts) -> Finding {
    let about = facts.server.as_str();
    if facts.is_disk_failing {
        return Finding::error("redis-disk-failing", about)
            .seen("its last write to disk failed", "最近一次写盘失败")
            .remedy(
                "free its disk, and see its log; until then it may refuse writes or forget",
                "请清理磁盘并查看日志；在此之前可能拒绝写入或丢失数据",
            );
    }
    if facts.has_append_only_file {
        return Finding::ok("redis-persistence-good", about)
            .seen("appendonly yes: what was written survives a restart", "appendonly yes：重启后数据仍在");
    }
    let remedy_en = "set appendonly yes (CONFIG SET appendonly yes, CONFIG REWRITE)";
    let remedy_zh = "请设置 appendonly yes（CONFIG SET appendonly yes 后 CONFIG REWRITE）";
    match facts.snapshots.as_deref() {
        Some("") => Finding::error("redis-keeps-nothing", about)
            .seen("no append-only file and no snapshots: a restart forgets every registered order and its amount", "既无 AOF 也无快照：重启后所有已登记订单及金额都会丢失")
            .remedy(remedy_en, remedy_zh),
        _ => Finding::warning("redis-no-aof", about)
            .seen("no append-only file: a crash forgets the orders since the last snapshot", "没有 AOF：崩溃会丢失上次快照之后的订单")
            .remedy(remedy_en, remedy_zh),
    }
}

fn fsync(facts: &Facts) -> Option<Finding> {
    let about = facts.server.as_str();
    if !facts.has_append_only_file {
        return None;
    }
    match facts.fsync.as_deref() {
        Some("no") => Some(
            Finding::warning("redis-fsync-never", about)
                .seen("appendfsync no: the system decides when writes reach the disk", "appendfsync no：何时落盘由操作系统决定")
                .remedy("set appendfsync everysec, or always", "请设置 appendfsync everysec 或 always"),
        ),
        Some("everysec") if facts.replicas == 0 => Some(
            Finding::hint("redis-fsync-second", about)
                .seen("a power loss forgets the registrations of the last second; their payments are then found by the notification alone, without an amount to compare", "断电会丢失最近一秒的登记；这些支付只能靠通知找回，且无法核对金额")
                .remedy("appendfsync always, or a replica, closes the gap", "设置 appendfsync always 或增加从节点即可避免"),
        ),
        _ => None,
    }
}

fn eviction(facts: &Facts) -> Finding {
    match facts.eviction.as_deref() {
        Some("noeviction") => Finding::ok("redis-eviction-good", &facts.server).seen("maxmemory-policy noeviction", "maxmemory-policy noeviction"),
        Some(policy) => Finding::error("redis-evicts", &facts.server)
            .seen(format!("maxmemory-policy {policy}: it drops records when memory is full; Paybell refuses to start on it"), format!("maxmemory-policy {policy}：内存满时会丢弃记录，Paybell 拒绝启动"))
            .remedy("set maxmemory-policy noeviction, and give caches a Redis of their own", "请设置 maxmemory-policy noeviction，缓存请使用另一个 Redis"),
        None => Finding::unseen("redis-eviction-unknown", &facts.server).seen("it does not tell its maxmemory-policy", "未告知 maxmemory-policy"),
    }
}

fn memory(facts: &Facts) -> Finding {
    let (Some(max), Some(used)) = (facts.memory_bytes_max, facts.memory_bytes_used) else {
        return Finding::unseen("redis-memory-unknown", &facts.server)
            .seen("it does not tell its memory", "未告知内存用量");
    };
    let used_mb = used / 1_000_000;
    if max == 0 {
        return Finding::hint("redis-memory-unbounded", &facts.server)
            .seen(
                format!("{used_mb} MB used, no maxmemory: when memory ends the system may kill it"),
                format!("已用 {used_mb} MB，未设 maxmemory：内存耗尽时可能被系统杀死"),
            )
            .remedy(
                "set maxmemory to what the machine can spare; a pending order takes about 300 bytes",
                "请按机器余量设置 maxmemory；一个待支付订单约占 300 字节",
            );
    }
    let percent = used.saturating_mul(100) / max;
    let (seen_en, seen_zh) = (
        format!("{used_mb} MB, {percent} % of maxmemory"),
        format!("已用 {used_mb} MB，占 maxmemory 的 {percent} %"),
    );
    let remedy_en =
        "raise maxmemory, or shorten retention.orders; a full Redis refuses writes, and workers stop";
    let remedy_zh = "请调高 maxmemory 或缩短 retention.orders；内存满后 Redis 拒绝写入，worker 停止工作";
    if percent >= MEMORY_ERROR {
        Finding::error("redis-memory-full", &facts.server).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else if percent >= MEMORY_WARNING {
        Finding::warning("redis-memory-full", &facts.server)
            .seen(seen_en, seen_zh)
            .remedy(remedy_en, remedy_zh)
    } else {
        Finding::ok("redis-memory-good", &facts.server).seen(seen_en, seen_zh)
    }
}

fn replicas(facts: &Facts) -> Option<Finding> {
    let count = facts.replicas;
    match (count, facts.min_replicas) {
        (0, Some(1..)) => Some(
            Finding::error("redis-min-replicas", &facts.server)
                .seen(
                    "min-replicas-to-write asks for a replica and none follows: it refuses every write",
                    "min-replicas-to-write 要求从节点，但没有从节点在同步：所有写入都会被拒绝",
                )
                .remedy(
                    "start the replicas, or set min-replicas-to-write 0",
                    "请启动从节点，或设置 min-replicas-to-write 0",
                ),
        ),
        (0, _) => None,
        (_, Some(0)) => Some(
            Finding::hint("redis-min-replicas", &facts.server)
                .seen(
                    format!("{count} replicas follow; a master that is cut off from them still takes writes"),
                    format!("有 {count} 个从节点；与它们断开的主节点仍会接受写入"),
                )
                .remedy(
                    "set min-replicas-to-write 1, so that a master that was left behind stops",
                    "请设置 min-replicas-to-write 1，使被隔离的旧主节点停止写入",
                ),
        ),
        _ => Some(
            Finding::ok("redis-replicas-good", &facts.server)
                .seen(format!("{count} replicas follow"), format!("有 {count} 个从节点在同步")),
        ),
    }
}

fn clock(facts: &Facts) -> Finding {
    let half_ms = i64::try_from(facts.round_trip.as_millis() / 2).unwrap_or(i64::MAX);
    match facts.skew_ms {
        Some(ms) => clocks::of_redis(Skew { ms, uncertain_ms: half_ms.saturating_add(1) }),
        None => Finding::unseen("clock-unknown", "Redis").seen("it does not tell its time", "未告知时间"),
    }
}
