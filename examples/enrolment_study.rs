//! How well classes are learnt on the device: for each unknown class of a split, enrol it from a few photos of some
//! clusters (fish that were followed from frame to frame), and see what its other clusters and everything else come
//! out as. The tables of docs/why/open-world.md are its output.
//!
//! ```sh
//! cargo run --release --example enrolment_study -- fish.onnx fish.tsv photos trajectory test
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use oltr::decide::{Decider, Decision};
use oltr::enrol::{Enrolled, Enrolments};
use oltr::inference::{self, Record};
use oltr::labels::{Label, Labels};
use oltr::{Limits, Model, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Photos that a class is enrolled from in the table of classes.
const PHOTOS: usize = 5;

/// Numbers of photos in the table of all classes together.
const NUMBERS: [usize; 6] = [2, 3, 5, 10, 20, 40];

/// Times that everything is drawn anew.
const DRAWS: u64 = 50;

/// Photos and how many of them came out in each way, over all draws.
#[derive(Default)]
struct Row {
    draws: usize,
    photos: usize,
    /// Under the enrolled name.
    named: usize,
    /// Open without enrolment.
    open_before: usize,
    /// Open with it.
    open: usize,
    /// Photos of other unknown classes, and those of them under the enrolled name.
    others: usize,
    others_taken: usize,
    /// Known photos; those under the enrolled name; and those of them that were right before.
    known: usize,
    known_taken: usize,
    known_spoilt: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, labels, images, cluster, split] = &arguments[..] else {
        eprintln!("usage: enrolment_study MODEL LABELS IMAGES CLUSTER-COLUMN SPLIT");
        std::process::exit(2);
    };
    let limits = Limits::default();
    let labels = Labels::read(Path::new(labels), Some(cluster), &limits)?;
    let photos = labels.split(split)?;
    let model = Model::load(model, &Default::default())?;
    let bundle = model.bundle().expect("a bundle, not a bare graph");
    let truths = labels.resolve(&photos, bundle)?;
    let options = inference::Options { jobs: 2, features: true, ..inference::Options::default() };
    let records = inference::run(&model, Path::new(images), &photos, &truths, &limits, &options)?.records;
    let decider = Decider::new(bundle);
    let limit = 10.0 / bundle.open.reachability;
    const COLUMNS: &str = "photos tested | open before | named | still open | other unknown taken | known taken | \
                           of them right before |";
    println!("| class | {COLUMNS}");
    println!("|---|---|---|---|---|---|---|---|");
    for (class, row) in &study(&photos, &records, &decider, limit, PHOTOS)? {
        println!("| {class} | {row}");
    }
    println!("\n| enrolled from | classes | {COLUMNS}");
    println!("|---|---|---|---|---|---|---|---|---|");
    for number in NUMBERS {
        let rows = study(&photos, &records, &decider, limit, number)?;
        let mut all = Row::default();
        rows.values().for_each(|row| all.add(row));
        println!("| {number} | {} | {all}", rows.len());
    }
    Ok(())
}

/// Each unknown class enrolled alone from `number` photos, [`DRAWS`] times; `limit` is the distance at which frames turn
/// open.
fn study<'a>(
    photos: &'a [Label],
    records: &'a [Record],
    decider: &Decider,
    limit: f32,
    number: usize,
) -> Result<BTreeMap<&'a str, Row>> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for seed in 0..DRAWS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for (class, clusters) in unknown(photos, records) {
            let Some((enrolled_from, tested)) = draw(clusters, number, &mut rng) else { continue };
            let features: Vec<Vec<f32>> = enrolled_from.iter().map(|r| r.features.clone()).collect();
            // Photos that have too little in common are refused, as `oltr enrol` does.
            let Ok(enrolled) = Enrolled::new(class, &features, limit) else { continue };
            let mut enrolments = Enrolments::new("");
            enrolments.add(enrolled)?;
            let is_open = |r: &Record| decider.decide(&r.scores).decision == Decision::Open;
            let taken = |r: &Record| enrolments.find(&r.features, &r.distances, decider).is_some();
            let row = rows.entry(class).or_default();
            row.draws += 1;
            for r in tested {
                row.photos += 1;
                row.open_before += usize::from(is_open(r));
                row.named += usize::from(taken(r));
                row.open += usize::from(is_open(r) && !taken(r));
            }
            for r in records {
                match r.truth {
                    Some(truth) => {
                        row.known += 1;
                        row.known_taken += usize::from(taken(r));
                        row.known_spoilt += usize::from(taken(r) && truth == r.scores.class && !is_open(r));
                    }
                    None if photos[r.photo].class != class => {
                        row.others += 1;
                        row.others_taken += usize::from(taken(r));
                    }
                    None => {}
                }
            }
        }
    }
    Ok(rows)
}

impl Row {
    /// Photos of another class beside these.
    fn add(&mut self, other: &Row) {
        self.draws = self.draws.max(other.draws);
        self.photos += other.photos;
        self.named += other.named;
        self.open_before += other.open_before;
        self.open += other.open;
        self.others += other.others;
        self.others_taken += other.others_taken;
        self.known += other.known;
        self.known_taken += other.known_taken;
        self.known_spoilt += other.known_spoilt;
    }
}

impl std::fmt::Display for Row {
    /// `195 | 72.8 % | 62.2 % | …|`, photos as the mean of the draws.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |part: usize, whole: usize| format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64);
        write!(
            f,
            "{} | {} | {} | {} | {} | {} | {} |",
            self.photos / self.draws.max(1),
            percent(self.open_before, self.photos),
            percent(self.named, self.photos),
            percent(self.open, self.photos),
            percent(self.others_taken, self.others),
            percent(self.known_taken, self.known),
            percent(self.known_spoilt, self.known_taken),
        )
    }
}

/// The photos of each unknown class by cluster.
fn unknown<'a>(photos: &'a [Label], records: &'a [Record]) -> BTreeMap<&'a str, Vec<Vec<&'a Record>>> {
    let mut classes: BTreeMap<&str, BTreeMap<&str, Vec<&Record>>> = BTreeMap::new();
    for record in records.iter().filter(|r| r.truth.is_none()) {
        let label = &photos[record.photo];
        let cluster = label.cluster.as_deref().unwrap_or_default();
        classes.entry(&label.class).or_default().entry(cluster).or_default().push(record);
    }
    classes.into_iter().map(|(class, clusters)| (class, clusters.into_values().collect())).collect()
}

/// Photos to enrol from, one of a cluster in turn, and those of all other clusters; `None` if nothing is left to test.
fn draw<'a>(
    mut clusters: Vec<Vec<&'a Record>>,
    number: usize,
    rng: &mut ChaCha8Rng,
) -> Option<(Vec<&'a Record>, Vec<&'a Record>)> {
    let n = clusters.len();
    for i in (1..n).rev() {
        clusters.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
    // At most half of the clusters, so that something is left.
    let used = number.min(n / 2);
    let tested: Vec<&Record> = clusters[used..].iter().flatten().copied().collect();
    let longest = clusters[..used].iter().map(Vec::len).max()?;
    let turns = (0..longest).flat_map(|i| clusters[..used].iter().filter_map(move |c| c.get(i).copied()));
    let enrolled: Vec<&Record> = turns.take(number).collect();
    (enrolled.len() == number && !tested.is_empty()).then_some((enrolled, tested))
}
