//! An input that a later record sets aside: whoever replays the journal leaves it out
//! from the beginning, and whoever sent it has one answer.

use std::sync::Arc;

use starmesh::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, SessionId, Tick, UnitId};
use starmesh::entity::World;
use starmesh::entity::commands::{Admission, CommandResult, PlayerCommand};
use starmesh::entity::input::{Claim, Input, InputPlace};
use starmesh::entity::logics::KnownWorlds;
use starmesh::entity::record::{RecordHeader, encode_input, encode_record};
use starmesh::entity::replay::{Image, Replayed, replay};
use starmesh::sim::rules::sample;
use starmesh::sim::{Command, Galaxy, Instruction, Refusal, UnitIds};

const ENTITY: EntityKey = EntityKey::Ledger(0);

fn world() -> Arc<World> {
    // All three are fixed and valid.
    let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("a small galaxy");
    Arc::new(World::new(galaxy, 1, sample::rules().expect("sample rules")))
}

fn image(world: &World, records: &[Vec<Input>]) -> Image {
    let record = |(sequence, inputs): (u64, &Vec<Input>)| {
        let header = RecordHeader { sequence, tick: Tick(sequence), time: Millis(sequence * 100) };
        let mut bytes = Vec::new();
        inputs.iter().for_each(|input| encode_input(input, &mut bytes));
        let count = u32::try_from(inputs.len()).expect("a few");
        (sequence, encode_record(&header, world.logic(), count, &bytes))
    };
    Image { records: (1..).zip(records).map(record).collect(), ..Image::default() }
}

fn replayed(world: &Arc<World>, records: &[Vec<Input>]) -> Replayed {
    let known = KnownWorlds::new(world.clone());
    replay(ENTITY, &image(world, records), &known).expect("a journal")
}

fn claim() -> Input {
    let (node, incarnation) = (NodeId(1), Incarnation(1));
    Input::Claim(Claim { node, incarnation, node_tick: Tick(1) })
}

fn command(sequence: u32) -> PlayerCommand {
    let units = UnitIds::new(vec![UnitId(1)]).expect("one unit");
    let (player, session) = (PlayerId(1), SessionId(1));
    PlayerCommand { player, session, sequence, command: Command::new(units, Instruction::Stop) }
}

#[test]
fn a_command_that_is_set_aside_is_refused_and_a_retry_is_answered_the_same() {
    let world = world();
    let commands = vec![Input::Command(command(1)), Input::Command(command(2))];
    let skip = Input::Skip(InputPlace { sequence: 2, index: 1 });
    let journal = [vec![claim()], commands, vec![Input::Time], vec![claim(), skip]];
    let result = |records: &[Vec<Input>], sequence| {
        let entity = replayed(&world, records).entity;
        match entity.judge_command(command(sequence).key()) {
            Admission::Answer(answer) => (answer.result, answer.record),
            Admission::Apply => panic!("it was applied"),
        }
    };
    assert_eq!(result(&journal[..3], 2), (CommandResult::NotHere, 2));
    let (CommandResult::Refused(refused), 2) = result(&journal, 2) else {
        panic!("{:?}", result(&journal, 2))
    };
    assert_eq!((refused.rule, refused.unit), (Refusal::SetAside, None));
    assert_eq!(result(&journal, 1), (CommandResult::NotHere, 2), "the other one is as it was");
}

#[test]
fn what_was_parked_goes_on_at_the_tick_that_was_seen() {
    let world = world();
    let park = Input::Park { until: Tick(40) };
    let mut journal = vec![vec![claim()], vec![claim(), park]];
    let parked = replayed(&world, &journal);
    assert_eq!((parked.parked, parked.entity.tick()), (Some(Tick(40)), Tick(2)));
    assert_eq!(parked.entity.head().claim, None, "nobody owns it");
    journal.push(vec![claim()]);
    let claimed = replayed(&world, &journal);
    assert!(claimed.parked.is_none() && claimed.entity.head().claim.is_some());
}
