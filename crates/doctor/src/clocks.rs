//! This machine's clock against WeChat's and Redis'. What is off by seconds makes due times, expiries and leases wrong.

use crate::finding::{Finding, Text};
use crate::wechat::Skew;

const WARNING_MS: i64 = 2_000;
const ERROR_MS: i64 = 5_000;

/// By the header `Date` of WeChat's answer.
pub(crate) fn of_wechat(skew: Option<Skew>, base: &str) -> Finding {
    let Some(skew) = skew else {
        return Finding::unseen("clock-unknown", base)
            .seen("the answer has no usable Date header", "应答中没有可用的 Date 头");
    };
    judge(skew, "WeChat", "微信")
}

/// By Redis' `TIME`.
pub(crate) fn of_redis(skew: Skew) -> Finding {
    judge(skew, "Redis", "Redis")
}

fn judge(skew: Skew, whom: &str, whom_zh: &str) -> Finding {
    let about = Text::new(format!("this machine and {whom}"), format!("本机与{whom_zh}"));
    let least_ms = skew.least_ms();
    let direction = if skew.ms > 0 { ("ahead of", "快") } else { ("behind", "慢") };
    let seconds = format!("{}.{}", skew.ms.abs() / 1000, skew.ms.abs() % 1000 / 100);
    let en = format!("this machine's clock is about {seconds} s {} {whom}'s", direction.0);
    let zh = format!("本机时钟比{whom_zh}{}约 {seconds} 秒", direction.1);
    let remedy_en = "set the clock by NTP (timedatectl set-ntp true, or chrony); time zones do not matter";
    let remedy_zh = "请用 NTP 校时（timedatectl set-ntp true 或 chrony）；与时区无关";
    if least_ms > ERROR_MS {
        Finding::error("clock-wrong", about).seen(en, zh).remedy(remedy_en, remedy_zh)
    } else if least_ms > WARNING_MS {
        Finding::warning("clock-off", about).seen(en, zh).remedy(remedy_en, remedy_zh)
    } else {
        let sure_ms = skew.uncertain_ms;
        Finding::ok("clock-good", about).seen(
            format!("they agree, as far as can be told (to {sure_ms} ms)"),
            format!("一致（精度 {sure_ms} 毫秒）"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged_by_what_is_certain() {
        let code = |ms, uncertain_ms| judge(Skew { ms, uncertain_ms }, "WeChat", "微信").code;
        assert_eq!(code(2_400, 550), "clock-good");
        assert_eq!(code(2_600, 550), "clock-off");
        assert_eq!(code(-5_500, 550), "clock-off");
        assert_eq!(code(-5_600, 550), "clock-wrong");
        assert_eq!(code(60_000, 550), "clock-wrong");
        assert_eq!(of_wechat(None, "https://x").code, "clock-unknown");
        let told = judge(Skew { ms: -61_250, uncertain_ms: 500 }, "Redis", "Redis");
        assert_eq!(told.seen.en, "this machine's clock is about 61.2 s behind Redis's");
        assert_eq!(told.seen.zh, "本机时钟比Redis慢约 61.2 秒");
    }
}
