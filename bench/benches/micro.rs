//! Times the steps of the data path one by one: `cargo bench -p sqluice-bench`.
//!
//! On a machine that others use too, `sqluice-bench micro` tells more: it counts instructions.

use criterion::{Criterion, criterion_group, criterion_main};
use micro::CASES;

fn steps(criterion: &mut Criterion) {
    for case in CASES {
        criterion.bench_function(case.name, |bencher| {
            let mut step = (case.prepare)();
            bencher.iter(&mut step);
        });
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
