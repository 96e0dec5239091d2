//! The invariants that concern one node, a file each. Never does anything to the
//! run. Each was shown to bite by breaking what it guards.

mod accounts;
mod asleep;
mod attach;
mod audit;
mod away;
mod boards;
mod bounds;
mod channels;
mod claimed;
mod commands;
mod fog;
mod hops;
mod order;
mod outside_view;
mod pace;
mod presence;
mod publish_barrier;
mod recovered_tick;
mod replay;
mod requests;
mod sequences;
mod snapshots;
mod units;
mod unknown_commit;

use crate::scene::Invariant;

/// Those that concern journals, whoever wrote them, fresh for one run: the cluster
/// is held to them, too.
pub fn of_journals() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<sequences::Sequences>::default(),
        Box::<snapshots::Snapshots>::default(),
        Box::<channels::Channels>::default(),
        Box::<requests::Requests>::default(),
        Box::<bounds::Bounds>::default(),
        Box::<commands::Commands>::default(),
        Box::<attach::Attach>::default(),
        Box::<units::Units>::default(),
    ]
}

/// Those, and what concerns views wherever they are.
pub fn of_clusters() -> Vec<Box<dyn Invariant>> {
    let mut all = of_journals();
    all.push(Box::<outside_view::OutsideView>::default());
    all.push(Box::<order::Order>::default());
    all
}

/// Every invariant, fresh for one run.
pub fn all() -> Vec<Box<dyn Invariant>> {
    let mut all = of_clusters();
    all.extend([
        Box::<publish_barrier::PublishBarrier>::default() as Box<dyn Invariant>,
        Box::<replay::Replay>::default(),
        Box::<recovered_tick::RecoveredTick>::default(),
        Box::<unknown_commit::UnknownCommit>::default(),
        Box::<boards::Boards>::default(),
        Box::<accounts::Accounts>::default(),
        Box::<away::Away>::default(),
        Box::<claimed::Claimed>::default(),
        Box::<fog::Fog>::default(),
        Box::<hops::Hops>::default(),
        Box::<presence::Presence>::default(),
        Box::<asleep::Asleep>::default(),
        Box::<pace::Pace>::default(),
        Box::<audit::Audit>::default(),
    ]);
    all
}
