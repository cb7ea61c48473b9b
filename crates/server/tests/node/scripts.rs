//! Every script, with its bytes whole, one by one, and cut at random: the replies are the same.

use super::memory::{Cut, run};
use super::script::{self, Script};

/// Random cuts of each script.
const RANDOM_CUTS: u64 = 20;

#[test]
fn scripts_give_what_they_say() {
    for path in script::all() {
        let script = Script::load(&path);
        let got = run(&script, &Cut::Whole);
        script.check(&got, "bytes whole");
    }
}

#[test]
fn scripts_give_the_same_however_the_bytes_are_cut() {
    for path in script::all() {
        let script = Script::load(&path);
        let whole = run(&script, &Cut::Whole);
        let random = (0..RANDOM_CUTS).map(Cut::Random);
        for cut in [Cut::ByteByByte].into_iter().chain(random) {
            let got = run(&script, &cut);
            for (index, block) in script.blocks.iter().enumerate() {
                let sent = block.lines.join("\n");
                assert_eq!(got[index], whole[index], "{} ({cut:?})\n{sent}", path.display());
            }
        }
    }
}
