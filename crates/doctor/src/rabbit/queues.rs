//! What the lengths of queues mean, ours and subscribers', and why one could not be looked at. Asks nothing itself.

use rabbitmq::probe::{Facts, Load, Queue, Unseen};

use crate::finding::Finding;

/// A subscriber's queue with so many events and nobody who takes them is forgotten.
const UNREAD_MAX: u32 = 1_000;

/// Judges the queues under a prefix, and those of `subscribers`.
pub(super) fn judge(facts: &Facts, prefix: &str, subscribers: &[String]) -> Vec<Finding> {
    let (foreign, own): (Vec<_>, Vec<_>) =
        facts.queues.iter().partition(|queue| subscribers.contains(&queue.name));
    let mut findings: Vec<_> = own.iter().filter_map(|queue| waiting(queue, prefix)).collect();
    findings.extend(unserved(&own));
    findings.extend(unseen(&own));
    findings.extend(foreign.into_iter().map(subscriber));
    if subscribers.is_empty() {
        findings.push(unseen_subscribers(facts, prefix));
    }
    findings
}

/// A queue of ours that somebody should take from.
fn waiting(queue: &Queue, prefix: &str) -> Option<Finding> {
    let Load { messages, consumers } = *queue.load.as_ref().ok()?;
    if messages == 0 || consumers > 0 {
        return None;
    }
    if queue.name == format!("{prefix}.dead") {
        let finding = Finding::warning("rabbitmq-dead-checks", &queue.name)
            .seen(
                format!("{messages} checks that the broker gave up on, and no worker takes them"),
                format!("{messages} 个检查被放弃，且没有 worker 处理"),
            )
            .remedy("start the worker role: it gives them a due time", "请启动 worker：它会重新安排这些检查");
        return Some(finding);
    }
    let finding = Finding::warning("rabbitmq-no-consumer", &queue.name)
        .seen(
            format!("{messages} messages wait and nobody takes them"),
            format!("{messages} 条消息在等待，没有消费者"),
        )
        .remedy(
            "start a worker (`paybell run worker`): payments are known and not told yet",
            "请启动 worker（paybell run worker）：支付已知但尚未发出事件",
        );
    Some(finding)
}

/// Queues of ours on a node that is down, as one finding: they fall together.
fn unserved(own: &[&Queue]) -> Option<Finding> {
    let causes: Vec<_> = own
        .iter()
        .filter_map(|queue| match &queue.load {
            Err(Unseen::Unserved(cause)) => Some((&queue.name, cause)),
            _ => None,
        })
        .collect();
    let (about, cause) = *causes.first()?;
    let count = causes.len();
    let finding = Finding::error("rabbitmq-queue-down", about)
        .seen(
            format!("{count} queues of ours are there and nobody serves them: {cause}"),
            format!("{count} 个队列存在但没有节点提供服务：{cause}"),
        )
        .remedy(
            "start the broker's nodes that are down (rabbitmq-diagnostics cluster_status): a quorum queue needs more than half of its members. WeChat is answered 503 meanwhile and comes again for 24 h 4 m",
            "请启动停止的 RabbitMQ 节点（rabbitmq-diagnostics cluster_status）：仲裁队列需要半数以上成员在线。期间微信得到 503，会在 24 小时 4 分内重发",
        );
    Some(finding)
}

/// Queues of ours that did not tell, as one finding. What is missing is told with the topology.
fn unseen(own: &[&Queue]) -> Option<Finding> {
    let causes: Vec<_> = own
        .iter()
        .filter_map(|queue| match &queue.load {
            Err(
                Unseen::Denied(cause)
                | Unseen::Exclusive(cause)
                | Unseen::Late(cause)
                | Unseen::Failed(cause),
            ) => Some((&queue.name, cause)),
            Ok(_) | Err(Unseen::Missing | Unseen::Unserved(_)) => None,
        })
        .collect();
    let (about, cause) = *causes.first()?;
    let count = causes.len();
    let finding = Finding::unseen("rabbitmq-queues-unseen", about)
        .seen(
            format!("{count} queues of ours do not tell how long they are: {cause}"),
            format!("无法得知 {count} 个队列的长度：{cause}"),
        )
        .remedy(
            "rabbitmqctl list_queues name messages consumers tells the same on the broker's machine",
            "可在 RabbitMQ 本机执行 rabbitmqctl list_queues name messages consumers 查看",
        );
    Some(finding)
}

fn subscriber(queue: &Queue) -> Finding {
    let about = queue.name.as_str();
    let Load { messages, consumers } = match &queue.load {
        Ok(load) => *load,
        Err(unseen) => return unseen_subscriber(about, unseen),
    };
    if consumers == 0 && messages > 0 {
        let finding = if messages > UNREAD_MAX {
            Finding::warning("subscriber-queue-unread", about)
        } else {
            Finding::hint("subscriber-queue-unread", about)
        };
        return finding
            .seen(format!("{messages} events wait and nobody reads them"), format!("{messages} 个事件在等待，没有消费者"))
            .remedy(
                "start the subscriber, or delete the queue; give it a policy with max-length and expires, so that a forgotten one does not fill the broker's disk",
                "请启动订阅程序或删除队列；并用策略设置 max-length 和 expires，以免被遗忘的队列占满磁盘",
            );
    }
    Finding::ok("subscriber-queue-good", about).seen(
        format!("{messages} events wait, {consumers} consumers"),
        format!("{messages} 个事件等待，{consumers} 个消费者"),
    )
}

fn unseen_subscriber(about: &str, unseen: &Unseen) -> Finding {
    match unseen {
        Unseen::Missing => Finding::error("subscriber-queue-missing", about)
            .seen("there is no queue of that name in this virtual host", "该虚拟主机中没有此队列")
            .remedy(
                "the subscriber declares it durable and binds it to the events exchange",
                "请由订阅方声明持久队列并绑定到事件交换机",
            ),
        Unseen::Unserved(cause) => Finding::error("subscriber-queue-down", about)
            .seen(format!("it is there and nobody serves it: {cause}"), format!("队列存在但没有节点提供服务：{cause}"))
            .remedy(
                "start the broker's node that has it. Events published meanwhile do not reach it: the subscriber catches up from the log (GET /v1/events). A quorum queue outlives one node",
                "请启动该队列所在的 RabbitMQ 节点。期间的事件不会进入该队列，订阅方需从事件日志（GET /v1/events）补读。仲裁队列可容忍单个节点停止",
            ),
        Unseen::Denied(cause) => Finding::unseen("subscriber-queue-denied", about)
            .seen(format!("our user may not look at it: {cause}"), format!("本服务的用户无权查看：{cause}"))
            .remedy(
                "nothing is wrong with that: on the broker's machine rabbitmqctl list_queues name messages consumers tells the same",
                "这本身没有问题：可在 RabbitMQ 本机执行 rabbitmqctl list_queues name messages consumers 查看",
            ),
        Unseen::Exclusive(cause) => Finding::warning("subscriber-queue-exclusive", about)
            .seen(
                format!("it belongs to one connection and ends with it, with all that waits in it: {cause}"),
                format!("队列属于单个连接，连接断开时队列及其中的事件一并消失：{cause}"),
            )
            .remedy(
                "declare it durable, neither exclusive nor auto-delete (better a quorum queue): what is published while the subscriber is away is lost otherwise",
                "请声明为持久队列，不要设置 exclusive 或 auto-delete（建议使用仲裁队列）：否则订阅方离线期间的事件会丢失",
            ),
        Unseen::Late(cause) | Unseen::Failed(cause) => Finding::unseen("subscriber-queue-unseen", about)
            .seen(format!("it could not be looked at: {cause}"), format!("无法查看：{cause}"))
            .remedy(
                "mend the broker's errors first, then look again",
                "请先解决 RabbitMQ 的其他错误，再运行一次",
            ),
    }
}

fn unseen_subscribers(facts: &Facts, prefix: &str) -> Finding {
    Finding::unseen("subscriber-queues-unseen", &facts.host)
        .seen(
            "AMQP does not tell who is bound to the events, nor their length limits and policies",
            "AMQP 无法列出绑定到事件交换机的队列及其长度限制和策略",
        )
        .remedy(
            format!(
                "name them (--subscriber-queue NAME), and look at the rest with rabbitmqctl list_bindings | grep {prefix}.events and \
                 rabbitmqctl list_queues name messages consumers policy: a full queue with overflow=reject-publish refuses events, \
                 which is counted and harms nobody else"
            ),
            format!(
                "用 --subscriber-queue 名称 指定，其余用 rabbitmqctl list_bindings | grep {prefix}.events 和 \
                 rabbitmqctl list_queues name messages consumers policy 查看：已满且 overflow=reject-publish 的队列会拒收事件（会计数，不影响其他订阅方）"
            ),
        )
}
