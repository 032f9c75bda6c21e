use super::*;

fn line(number: u64) -> Kept {
    let metadata = vec![Pair { name: "call_id".into(), value: format!("c{number}") }];
    Kept { stream: "{job=\"sidetone\"}".into(), nanos: number, line: format!("line {number}"), metadata }
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<Kept> {
    numbers.map(line).collect()
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.lines.iter().map(|line| line.nanos).collect()
}

fn drain(spool: &Spool) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(batch) = spool.take(1000, 7) {
        all.extend(numbers(&batch));
        spool.done(&batch);
    }
    all
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn lines_come_out_as_they_went_in() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    spool.append(&lines(0..5), None);
    let batch = spool.take(1 << 20, 3).unwrap();
    assert_eq!(batch.lines, lines(0..3));
    assert_eq!(spool.take(1 << 20, 3).unwrap(), batch, "until they are done");
    spool.done(&batch);
    assert_eq!(spool.waiting().lines, 2);
    assert_eq!(drain(&spool), [3, 4]);
    assert_eq!(spool.waiting().lines, 0);
    spool.append(&lines(5..6), None);
    assert_eq!(drain(&spool), [5]);
}

#[test]
fn they_survive_a_restart_and_are_not_sent_twice() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    spool.append(&lines(0..5000), None);
    let batch = spool.take(1000, 10).unwrap();
    spool.done(&batch);
    drop(spool);
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(spool.waiting().lines, 5000 - batch.lines.len() as u64);
    let first = batch.lines.len() as u64;
    spool.append(&lines(5000..5001), None);
    assert_eq!(drain(&spool), (first..=5000).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(drain(&Spool::open(directory.path(), 1 << 20).unwrap()), [0_u64; 0]);
}

#[test]
fn when_it_is_full_the_oldest_go_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 128 << 10).unwrap();
    for number in 0..10_000 {
        spool.append(&[line(number)], None);
        assert!(spool.waiting().bytes <= 128 << 10);
    }
    let lost = count(&spool.tally.lost_full);
    assert!(lost > 0);
    assert_eq!(spool.waiting().lines, 10_000 - lost);
    assert_eq!(drain(&spool), (lost..10_000).collect::<Vec<_>>());
}

#[test]
fn what_was_taken_before_it_was_given_up_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 128 << 10).unwrap();
    spool.append(&lines(0..10), None);
    let batch = spool.take(1 << 20, 5).unwrap();
    for number in 10..10_000 {
        spool.append(&[line(number)], None);
    }
    spool.done(&batch);
    let lost = count(&spool.tally.lost_full);
    assert_eq!(drain(&spool), (lost..10_000).collect::<Vec<_>>());
}

#[test]
fn a_torn_end_is_cut_wherever_it_is_torn() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    spool.append(&lines(1..3), None);
    drop(spool);
    let file = directory.path().join(name(1));
    let whole = fs::read(&file).unwrap();
    for cut in 0..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let spool = Spool::open(directory.path(), 1 << 20).unwrap();
        spool.append(&lines(7..8), None);
        let expected: &[u64] = if cut < whole.len() / 2 { &[7] } else { &[1, 7] };
        let batch = spool.take(1 << 20, 100).unwrap();
        assert_eq!(numbers(&batch), expected, "{cut}");
    }
}

#[test]
fn damage_inside_costs_the_rest_of_a_segment_only() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    spool.append(&lines(0..3000), None);
    spool.append(&lines(3000..3010), None);
    drop(spool);
    let file = directory.path().join(name(1));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(count(&spool.tally.lost_damaged), 1);
    let left = drain(&spool);
    assert_eq!(&left[left.len() - 10..], (3000..3010).collect::<Vec<_>>());
}

#[test]
fn a_line_longer_than_a_batch_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    let long = Kept { line: "x".repeat(50_000), ..line(1) };
    spool.append(&[long.clone(), line(2)], None);
    let batch = spool.take(1000, 100).unwrap();
    assert_eq!(batch.lines[0], long);
    let mut all = numbers(&batch);
    spool.done(&batch);
    all.extend(drain(&spool));
    assert_eq!(all, [1, 2]);
}

#[test]
fn the_last_mark_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(spool.mark(), None);
    spool.append(&lines(0..1), Some(b"one"));
    spool.append(&lines(1..2), Some(b"two"));
    spool.append(&lines(2..3), None);
    drop(spool);
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(spool.mark().unwrap(), b"two");
    assert_eq!(drain(&spool), [0, 1, 2]);
}

#[test]
fn a_position_that_cannot_be_read_sends_again_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    spool.append(&lines(0..4), None);
    spool.done(&spool.take(1 << 20, 2).unwrap());
    drop(spool);
    fs::write(directory.path().join("position"), b"junk that is no position").unwrap();
    assert_eq!(drain(&Spool::open(directory.path(), 1 << 20).unwrap()), [0, 1, 2, 3]);
}

#[test]
fn lines_whose_mark_is_torn_off_were_never_there() {
    let whole = tempfile::tempdir().unwrap();
    let spool = Spool::open(whole.path(), 1 << 20).unwrap();
    spool.append(&lines(0..2), Some(b"one"));
    let first = fs::metadata(whole.path().join(name(1))).unwrap().len() as usize;
    spool.append(&lines(2..5), Some(b"two"));
    let bytes = fs::read(whole.path().join(name(1))).unwrap();
    for end in first..bytes.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name(1)), &bytes[..end]).unwrap();
        let spool = Spool::open(directory.path(), 1 << 20).unwrap();
        assert_eq!((spool.mark().unwrap(), spool.waiting().lines), (b"one".to_vec(), 2), "{end}");
        spool.append(&lines(2..5), Some(b"two"));
        assert_eq!(drain(&spool), [0, 1, 2, 3, 4], "{end}");
    }
}
