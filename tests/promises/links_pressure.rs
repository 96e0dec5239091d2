//! A receiver that stalls fills its own queue and nothing else: the sender is
//! told, its memory stays bounded, other classes and other peers go on, and
//! nothing is lost when it goes on.

use bytes::Bytes;
use starmesh::cluster::links::{Class, Limits, Link, SendFault};

use super::links_support::{TestNode, WITHIN, limits, nodes, numbered, pair};

/// Small windows and queues, so that little is enough to fill them.
fn small() -> Limits {
    let mut limits = Limits { stream_window: 64 << 10, ..limits() };
    limits.classes.commands.queue_bytes = 512 << 10;
    limits.classes.commands.queue_messages = 4_096;
    limits
}

/// Sends until the queue stays full although everything that could be written
/// was; how many were taken.
async fn fill(link: &Link, length: usize) -> u32 {
    let mut taken = 0;
    let mut last = 0;
    loop {
        let message = numbered(taken + 1, length).pop().unwrap();
        match link.try_send(Class::Commands, message) {
            Ok(()) => taken += 1,
            Err(error) if error.fault == SendFault::Full => {
                // An answer on another class comes after a turn of everybody.
                link.ask(Class::Control, Bytes::new(), WITHIN).await.unwrap();
                if taken == last {
                    return taken;
                }
                last = taken;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_class_that_is_not_read_holds_up_no_other_class_and_no_other_peer() {
    let [one, two, three] = nodes(small());
    one.dial(&two);
    one.dial(&three);
    let (to_two, to_three) = (one.link(two.id).await, one.link(three.id).await);
    two.host.stall(Class::Commands, true);
    let taken = fill(&to_two, 1_000).await;

    let limits = small().classes.commands;
    let queued = to_two.queued(Class::Commands);
    assert!(queued.bytes <= limits.queue_bytes, "{queued:?}");
    // What was taken is in the queue, in the windows of this class, or in the
    // batch that the host holds, and nowhere else.
    let most = limits.queue_bytes + 4 * (small().stream_window as usize);
    assert!(taken as usize * 1_000 <= most, "{taken} messages of 1,000 bytes, {most} bytes");
    assert!(one.status(two.id).unwrap().classes.commands.messages_full > 0);

    // Megabytes go by, in the other classes and to the other peer.
    for message in numbered(200, 50_000) {
        to_two.send(Class::Bulk, message.clone()).await.unwrap();
        to_three.send(Class::Bulk, message.clone()).await.unwrap();
        to_two.send(Class::Control, message.slice(..1_000)).await.unwrap();
        to_three.send(Class::Commands, message.slice(..1_000)).await.unwrap();
    }
    let reached: [(&TestNode, Class); 4] = [
        (&two, Class::Bulk),
        (&two, Class::Control),
        (&three, Class::Bulk),
        (&three, Class::Commands),
    ];
    for (node, class) in reached {
        assert_eq!(node.host.messages(one.id, class, 200).await.len(), 200);
    }
    assert_eq!(two.host.messages(one.id, Class::Commands, 0).await.len(), 0);

    two.host.stall(Class::Commands, false);
    let heard = two.host.messages(one.id, Class::Commands, taken as usize).await;
    assert!(heard == numbered(taken, 1_000));
}

#[tokio::test]
async fn who_waits_for_room_goes_on_as_soon_as_the_peer_does() {
    let (one, two) = pair(small()).await;
    let link = one.link(two.id).await;
    two.host.stall(Class::Commands, true);
    let taken = fill(&link, 1_000).await;
    let message = numbered(taken + 1, 1_000).pop().unwrap();
    let waiting = tokio::spawn(async move { link.send(Class::Commands, message).await });
    two.host.stall(Class::Commands, false);
    waiting.await.unwrap().unwrap();
    let heard = two.host.messages(one.id, Class::Commands, taken as usize + 1).await;
    assert!(heard == numbered(taken + 1, 1_000));
}

#[tokio::test]
async fn a_stalled_peer_does_not_keep_its_link_from_ending() {
    let (one, two) = pair(small()).await;
    let link = one.link(two.id).await;
    two.host.stall(Class::Commands, true);
    fill(&link, 1_000).await;
    let from = one.id;
    one.links.stop().await;
    two.until("no link", |two| (!two.status(from)?.state.is_up()).then_some(())).await;
    assert_eq!(link.queued(Class::Commands).bytes, 0);
}
