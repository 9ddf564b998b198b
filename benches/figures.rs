//! The figures that the requirements name: one energy into the correlation, and from the last message of an energy
//! image to the published map. Run with `cargo bench --profile dev --bench figures`.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "figures/dose.rs"]
mod dose;
#[path = "figures/kernel.rs"]
mod kernel;
#[path = "figures/latency.rs"]
mod latency;
#[path = "figures/scene.rs"]
mod scene;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn correlation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("correlation, 512x512 x 5, one energy, one thread");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(kernel::Stream::BYTES as u64));
    let (mut stream, mut kernel) = (kernel::Stream::new(), kernel::Kernel::new());
    group.bench_function("least traffic", |bencher| {
        bencher.iter_custom(|count| kernel::on_one_thread(|| timed(count, || stream.pass())));
    });
    group.bench_function("update", |bencher| {
        bencher.iter_custom(|count| kernel::on_one_thread(|| timed(count, || kernel.add())));
    });
    group.finish();
}

fn timed(count: u64, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| work());
    start.elapsed()
}

fn map(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("last message to published map, 256x256 x 5 x 75");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let sha256 = phasewatch::simulate::nvpf::reference_set().sha256;
    for photons in [3000.0, 300.0] {
        let mut arrival = latency::Arrival::new(scene::Scene::new(256, 75, photons), 60);
        group.bench_function(format!("{photons} photons, without a model"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| arrival.next(None).total()).sum());
        });
        let Some(mut model) = scene::model() else { continue };
        group.bench_function(format!("{photons} photons, GMVAE"), |bencher| {
            bencher
                .iter_custom(|count| (0..count).map(|_| arrival.next(model.model_of(&sha256)).total()).sum());
        });
    }
    group.finish();
}

fn whole_dose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dose of a whole scan, 512x512 x 100");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let whole = dose::Whole::new(&scene::Scene::new(512, 101, 3000.0), 100);
    for (name, drift) in whole.drifts() {
        group.bench_function(name, |bencher| bencher.iter(|| whole.reckon(&drift)));
    }
    group.finish();
}

criterion_group!(benches, correlation, map, whole_dose);
criterion_main!(benches);
