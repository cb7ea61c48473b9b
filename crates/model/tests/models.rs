//! The models, each as it is, when nothing may be found, and with mutants, which must be.

use doled_model::run::{Mutant, dekker, fails};
use doled_model::{lease, memory, wipe};

#[track_caller]
fn holds(model: impl Fn() + Sync + Send + 'static) {
    assert!(!fails(Mutant::None, model), "see above");
}

#[track_caller]
fn is_found(mutant: Mutant, model: impl Fn() + Sync + Send + 'static) {
    assert!(fails(mutant, model), "the model does not find {mutant:?}");
}

#[test]
fn operations_in_one_order_are_so_in_models() {
    holds(dekker);
    is_found(Mutant::OneOrder, dekker);
}

#[test]
fn a_revoked_bucket_is_not_served_under_the_renewed_lease() {
    for lapsed in lease::LAPSED {
        holds(lease::model(lease::Wrong::Nothing, lapsed));
    }
}

#[test]
fn weaker_orderings_of_lease_are_found() {
    for mutant in [Mutant::Loads, Mutant::Stores] {
        is_found(mutant, lease::model(lease::Wrong::Nothing, lease::LAPSED[0]));
    }
}

#[test]
fn wrong_steps_of_lease_are_found() {
    for wrong in [lease::Wrong::TagFirst, lease::Wrong::LeaseFirst] {
        assert!(
            fails(Mutant::None, lease::model(wrong, lease::LAPSED[0])),
            "the model does not find {wrong:?}"
        );
    }
}

#[test]
fn one_reader_is_never_written_under() {
    holds(memory::model(memory::Wrong::Nothing, 1));
}

#[test]
fn nor_are_two_that_want_the_same_slot() {
    holds(memory::model(memory::Wrong::Nothing, 2));
}

#[test]
fn weaker_orderings_of_memory_are_found() {
    for mutant in [Mutant::Loads, Mutant::Stores, Mutant::Updates, Mutant::OneOrder] {
        is_found(mutant, memory::model(memory::Wrong::Nothing, 1));
    }
}

#[test]
fn wrong_steps_of_memory_are_found() {
    let wrongs = [
        memory::Wrong::NoLook,
        memory::Wrong::NoRaise,
        memory::Wrong::RaiseFirst,
        memory::Wrong::LatePin,
        memory::Wrong::EarlyUnpin,
    ];
    for wrong in wrongs {
        assert!(fails(Mutant::None, memory::model(wrong, 1)), "the model does not find {wrong:?}");
    }
}

#[test]
fn who_knows_of_a_wipe_sees_nothing_from_before_it() {
    holds(wipe::model(wipe::Wrong::Nothing));
}

#[test]
fn weaker_orderings_of_wipe_are_found() {
    for mutant in [Mutant::Loads, Mutant::Stores] {
        is_found(mutant, wipe::model(wipe::Wrong::Nothing));
    }
}

#[test]
fn wrong_steps_of_wipe_are_found() {
    let wrongs = [
        wipe::Wrong::TagFirst,
        wipe::Wrong::NoWipe,
        wipe::Wrong::TagWithoutLock,
        wipe::Wrong::NoFloor,
        wipe::Wrong::FloorFirst,
    ];
    for wrong in wrongs {
        assert!(fails(Mutant::None, wipe::model(wrong)), "the model does not find {wrong:?}");
    }
}
