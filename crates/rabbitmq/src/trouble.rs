//! What keeps a broker from being worked with, in an operator's words: which setting, what is wrong, what to do.
//!
//! The one source of these words: the supervisor's log, `paybell topology`, the reasons of a part that is down, and
//! `paybell doctor` say the same. They hold no value of any setting, so no secret. What is wrong with single queues is
//! not told here (`topology.rs`).

use std::io;

use lapin::ErrorKind;

use crate::link::LinkError;

/// A cause that an operator can mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// User or password.
    Login,
    VirtualHost,
    /// The broker lets this user or virtual host have no more connections.
    Limit,
    /// A permission on a queue or exchange.
    Permission,
    /// The host's name has no address.
    Name,
    /// Nobody listens.
    Port,
    /// Nobody answers.
    Silent,
    /// The broker's certificate.
    Certificate,
    /// What listens speaks something else than the URL says.
    Protocol,
    /// It stood, and fell silent.
    Heartbeat,
    /// No connection, and none of these.
    Away,
}

/// What to say about it, in English and Chinese.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// The setting to look at.
    pub key: &'static str,
    pub seen: [&'static str; 2],
    pub remedy: [&'static str; 2],
}

const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;

impl Trouble {
    /// What the error of a link means; `None` if it says all there is to say, or passes by itself.
    pub(crate) fn of(error: &LinkError) -> Option<Self> {
        match error {
            LinkError::Timeout { what: CONNECT, .. } => Some(Trouble::Silent),
            LinkError::Amqp { what, cause } => Self::told(cause, *what == CONNECT),
            _ => None,
        }
    }

    /// What ended a connection, or kept it from being made.
    pub(crate) fn told(error: &lapin::Error, is_beginning: bool) -> Option<Self> {
        let otherwise = is_beginning.then_some(Trouble::Away);
        match error.kind() {
            ErrorKind::ProtocolError(told) => match (told.get_id(), is_beginning) {
                (ACCESS_REFUSED, true) => Some(Trouble::Login),
                (ACCESS_REFUSED, false) => Some(Trouble::Permission),
                (NOT_ALLOWED, true) if told.get_message().as_str().contains("limit") => Some(Trouble::Limit),
                (NOT_ALLOWED, true) => Some(Trouble::VirtualHost),
                _ => otherwise,
            },
            ErrorKind::MissingHeartbeatError => Some(Trouble::Heartbeat),
            ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) if is_beginning => {
                Some(Trouble::Protocol)
            }
            ErrorKind::IOError(cause) if is_beginning => Some(Self::of_io(cause)),
            _ => otherwise,
        }
    }

    fn of_io(cause: &io::Error) -> Self {
        // Neither the resolver nor the TLS library has a kind of its own for its errors.
        let words = cause.to_string().to_lowercase();
        match cause.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Port,
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Trouble::Silent
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Trouble::Protocol,
            _ if words.contains("lookup address") => Trouble::Name,
            _ if words.contains("certificate") => Trouble::Certificate,
            _ if words.contains("corrupt message") => Trouble::Protocol,
            _ => Trouble::Away,
        }
    }

    /// The words. `PREFIX` in them is the configured one.
    #[must_use]
    pub fn words(self) -> Words {
        match self {
            Trouble::Login => LOGIN,
            Trouble::VirtualHost => VIRTUAL_HOST,
            Trouble::Limit => LIMIT,
            Trouble::Permission => PERMISSION,
            Trouble::Name => NAME,
            Trouble::Port | Trouble::Away => AWAY,
            Trouble::Silent => SILENT,
            Trouble::Certificate => CERTIFICATE,
            Trouble::Protocol => PROTOCOL,
            Trouble::Heartbeat => HEARTBEAT,
        }
    }

    /// What is wrong: the setting, the words, and the broker's or the system's own.
    pub(crate) fn named(self, cause: &str) -> String {
        let Words { key, seen: [seen, _], .. } = self.words();
        format!("{key}: {seen} ({cause})")
    }

    /// What to do.
    pub(crate) fn remedy(self) -> &'static str {
        let [remedy, _] = self.words().remedy;
        remedy
    }
}

/// How errors of connecting name what was tried.
pub(crate) const CONNECT: &str = "connect";

const URL: &str = "rabbitmq.url";

const LOGIN: Words = Words {
    key: URL,
    seen: ["user or password is refused", "用户名或密码被拒绝"],
    remedy: [
        "rabbitmqctl add_user paybell …, and put it into rabbitmq.url; the user guest works from the broker's own machine only",
        "执行 rabbitmqctl add_user paybell … 并写入 rabbitmq.url；guest 用户只能在 RabbitMQ 本机使用",
    ],
};

const VIRTUAL_HOST: Words = Words {
    key: URL,
    seen: ["the virtual host is not there, or not for this user", "虚拟主机不存在或无权访问"],
    remedy: [
        "rabbitmqctl add_vhost NAME; rabbitmqctl set_permissions -p NAME USER '.*' '.*' '.*'. In the URL / is written %2f",
        "执行 rabbitmqctl add_vhost 名称；rabbitmqctl set_permissions -p 名称 用户 '.*' '.*' '.*'。URL 中 / 写作 %2f",
    ],
};

const LIMIT: Words = Words {
    key: URL,
    seen: [
        "the broker lets this user or virtual host have no more connections",
        "该用户或虚拟主机的连接数已达上限",
    ],
    remedy: [
        "rabbitmqctl list_user_limits --user USER and list_vhost_limits -p VHOST tell the limit, rabbitmqctl list_connections user vhost name who has them; raise it, or end those that nobody needs",
        "用 rabbitmqctl list_user_limits --user 用户、list_vhost_limits -p 虚拟主机 查看上限，用 rabbitmqctl list_connections user vhost name 查看现有连接；提高上限或关闭多余的连接",
    ],
};

const PERMISSION: Words = Words {
    key: URL,
    seen: ["the user may not do what it has to", "用户权限不足"],
    remedy: [
        "give it configure, write and read on its prefix (rabbitmq.prefix, with \\. for a dot), and write on amq.default: rabbitmqctl set_permissions -p VHOST USER '^PREFIX\\.' '^(PREFIX\\..*|amq\\.default)$' '^PREFIX\\.' (the first pattern may be '^$' once everything is there). Where rabbitmqctl list_topic_permissions -p VHOST names it for PREFIX.events, the write pattern has to match every event's TYPE.MCH_ID",
        "授予其前缀（rabbitmq.prefix，其中的点写作 \\.）的 configure、write、read 权限和 amq.default 的 write 权限：rabbitmqctl set_permissions -p VHOST USER '^PREFIX\\.' '^(PREFIX\\..*|amq\\.default)$' '^PREFIX\\.'（队列等全部存在后，第一个模式可改为 '^$'）。若 rabbitmqctl list_topic_permissions -p VHOST 列出该用户对 PREFIX.events 的权限，其 write 模式须匹配所有事件的 TYPE.MCH_ID",
    ],
};

const NAME: Words = Words {
    key: URL,
    seen: ["the host's name is not found", "无法解析主机名"],
    remedy: [
        "compare the host in rabbitmq.url with what `getent hosts NAME` says on this machine or in this container; then its DNS (/etc/resolv.conf, /etc/hosts, the container's network)",
        "核对 rabbitmq.url 的主机名，在本机（或容器内）执行 getent hosts 名称，并检查 DNS（/etc/resolv.conf、/etc/hosts、容器网络）",
    ],
};

const AWAY: Words = Words {
    key: URL,
    seen: ["no connection", "无法连接"],
    remedy: [
        "start the broker (systemctl status rabbitmq-server), open port 5672 (5671 for TLS) from here, compare host and port in rabbitmq.url",
        "启动 RabbitMQ（systemctl status rabbitmq-server），放行 5672 端口（TLS 为 5671），核对 rabbitmq.url 的主机和端口",
    ],
};

const SILENT: Words = Words {
    key: URL,
    seen: ["nobody answers at that host and port", "该主机和端口没有应答"],
    remedy: [
        "open port 5672 (5671 for TLS) in the firewalls between here and the broker, compare host and port in rabbitmq.url; a broker that has just started, or is overloaded, answers later",
        "在沿途防火墙放行 5672 端口（TLS 为 5671），核对 rabbitmq.url 的主机和端口；刚启动或过载的 RabbitMQ 应答较慢",
    ],
};

const CERTIFICATE: Words = Words {
    key: "rabbitmq.ca_file",
    seen: ["the broker's certificate is not trusted", "RabbitMQ 的证书不受信任"],
    remedy: [
        "put the authority that signed it into rabbitmq.ca_file (PEM), or leave that away for a public one; the certificate must be in date and name the host of rabbitmq.url. Look with openssl s_client -connect HOST:5671 -showcerts",
        "将签发机构的证书（PEM）写入 rabbitmq.ca_file，若为公共机构则不要设置；证书须在有效期内，且包含 rabbitmq.url 的主机名。可用 openssl s_client -connect 主机:5671 -showcerts 查看",
    ],
};

const PROTOCOL: Words = Words {
    key: URL,
    seen: ["what listens there hung up or speaks something else", "对端断开连接或使用了其他协议"],
    remedy: [
        "amqp:// belongs to port 5672, amqps:// to 5671 (15672 is for browsers): compare scheme, host and port in rabbitmq.url; the broker's log says why it hung up",
        "amqp:// 对应 5672 端口，amqps:// 对应 5671 端口（15672 供浏览器使用）：请核对 rabbitmq.url 的协议、主机和端口；断开原因见 RabbitMQ 日志",
    ],
};

const HEARTBEAT: Words = Words {
    key: URL,
    seen: ["the broker was silent for two heartbeats", "RabbitMQ 连续两个心跳周期没有应答"],
    remedy: [
        "look at the network between here and the broker, and at its load; where silence is normal, ?heartbeat=SECONDS at the end of rabbitmq.url gives it longer",
        "检查网络和 RabbitMQ 的负载；若网络常有停顿，可在 rabbitmq.url 末尾加 ?heartbeat=秒数 放宽",
    ],
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    fn io(kind: io::ErrorKind, text: &str) -> LinkError {
        let cause = ErrorKind::IOError(Arc::new(io::Error::new(kind, text.to_owned()))).into();
        LinkError::Amqp { what: CONNECT, cause }
    }

    fn refused(what: &'static str, kind: impl Into<AMQPErrorKind>, text: &str) -> LinkError {
        LinkError::Amqp {
            what,
            cause: ErrorKind::ProtocolError(AMQPError::new(kind.into(), text.into())).into(),
        }
    }

    #[test]
    fn what_an_operator_can_mend_is_told_apart() {
        let limit = "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (1) is reached";
        let name = "failed to lookup address information: Name or service not known";
        let other = io::ErrorKind::Other;
        let told = [
            (refused(CONNECT, AMQPSoftError::ACCESSREFUSED, "Login was refused"), Some(Trouble::Login)),
            (refused("publish", AMQPSoftError::ACCESSREFUSED, "no write"), Some(Trouble::Permission)),
            (refused(CONNECT, AMQPHardError::NOTALLOWED, "vhost x not found"), Some(Trouble::VirtualHost)),
            (refused(CONNECT, AMQPHardError::NOTALLOWED, limit), Some(Trouble::Limit)),
            (refused(CONNECT, AMQPHardError::INTERNALERROR, "vhost is down"), Some(Trouble::Away)),
            (refused("publish", AMQPSoftError::NOTFOUND, "NOT_FOUND"), None),
            (io(io::ErrorKind::ConnectionRefused, "refused"), Some(Trouble::Port)),
            (io(io::ErrorKind::TimedOut, "late"), Some(Trouble::Silent)),
            (io(io::ErrorKind::UnexpectedEof, "end"), Some(Trouble::Protocol)),
            (io(other, name), Some(Trouble::Name)),
            (io(io::ErrorKind::InvalidData, "invalid peer certificate: Expired"), Some(Trouble::Certificate)),
            (io(io::ErrorKind::InvalidData, "received corrupt message of type X"), Some(Trouble::Protocol)),
            (io(other, "something new"), Some(Trouble::Away)),
            (
                LinkError::Amqp { what: "open a channel", cause: ErrorKind::MissingHeartbeatError.into() },
                Some(Trouble::Heartbeat),
            ),
            (LinkError::Closed, None),
        ];
        for (error, trouble) in told {
            assert_eq!(Trouble::of(&error), trouble, "{error}");
        }
    }

    #[test]
    fn every_trouble_names_a_setting_and_what_to_do() {
        use Trouble::{
            Away, Certificate, Heartbeat, Limit, Login, Name, Permission, Port, Protocol, Silent, VirtualHost,
        };
        let all = [
            Login,
            VirtualHost,
            Limit,
            Permission,
            Name,
            Port,
            Silent,
            Certificate,
            Protocol,
            Heartbeat,
            Away,
        ];
        for trouble in all {
            let words = trouble.words();
            assert!(words.key.starts_with("rabbitmq."), "{trouble:?}");
            for text in words.seen.into_iter().chain(words.remedy) {
                assert!(!text.is_empty() && !text.contains("  "), "{trouble:?}: {text}");
            }
            assert!(
                words.seen[1].chars().chain(words.remedy[1].chars()).any(|c| !c.is_ascii()),
                "{trouble:?}"
            );
        }
    }
}
