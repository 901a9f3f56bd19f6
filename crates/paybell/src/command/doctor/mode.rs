//! What the doctor says of the mode: whether this configuration names the one that the installation is in. Asks Redis for
//! one note; changes nothing.

use doctor::{Finding, Text};
use paybell_core::{AgreedMode, agreed::MODE_NOTE};
use redis_ledger::{RedisConfig, probe::note};

use crate::{boot::mode::history, config::Config, output::tame};

/// One finding, where Redis says anything.
pub(super) async fn look(config: &Config, redis: &RedisConfig) -> Option<Finding> {
    // That Redis does not answer is found already.
    let stored = note(redis, MODE_NOTE).await.ok()?;
    let agreed = stored.map(|text| AgreedMode::parse(&text)).transpose();
    Some(match agreed {
        Ok(Some(agreed)) => judge(config, &agreed),
        Ok(None) => Finding::ok("mode-not-settled", "mode").seen(
            format!("no process has started yet: the first one stores its mode, {}", config.mode.as_str()),
            format!("尚无进程启动过：第一个进程会存入它的模式 {}", config.mode.as_str()),
        ),
        Err(error) => Finding::error("mode-unreadable", "mode")
            .seen(tame(&error.to_string()), format!("无法读取：{}", tame(&error.to_string())))
            .remedy(
                "another version, or somebody else, wrote it: no process starts before it can be read",
                "由其他版本或他人写入：在可以读取之前，任何进程都不会启动",
            ),
    })
}

fn judge(config: &Config, agreed: &AgreedMode) -> Finding {
    let (configured, current) = (config.mode.as_str(), agreed.mode.as_str());
    let told = tame(&history(agreed));
    let seen = Text::new(
        format!("the installation is {told}"),
        format!("整套安装处于 {current}，自 {} 起", agreed.since),
    );
    if agreed.mode == config.mode {
        return Finding::ok("mode-agrees", "mode").seen(seen.en, seen.zh);
    }
    Finding::error("mode-differs", "mode")
        .seen(
            format!("{}; this configuration says {configured}: no process starts with it", seen.en),
            format!("{}；本配置写的是 {configured}：用它启动的进程会被拒绝", seen.zh),
        )
        .remedy(
            format!("set mode = \"{current}\"; or, if all processes shall be {configured}: paybell mode {configured}"),
            format!("设 mode = \"{current}\"；若所有进程都应为 {configured}：paybell mode {configured}"),
        )
}
