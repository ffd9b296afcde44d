//! How detectors say boxes.

use super::Settings;
use super::boxes::{Candidate, Candidates, MOST_BOXES};

/// Classes of one output, at most.
const MOST_SCORES: usize = 10_000;

/// Rows of an output whose boxes are final, at most: networks that choose themselves give a few hundred.
const MOST_FINAL: usize = 1000;

/// What is below it lies between 0 and 1 rather than in pixels: no box of a thing is so small.
const UNIT: f32 = 1.5;

/// By how much the scores of a box may miss a sum of 1 and still be those of a softmax: they may be quantised.
const SOFTMAX: f32 = 0.02;

/// Parts of names of outputs that are to be decoded first, and what they are.
const RAW: [(&str, &str); 9] = [
    ("logit", "scores before a sigmoid or softmax"),
    ("anchor", "anchors"),
    ("prior", "anchors"),
    ("encoding", "boxes relative to anchors"),
    ("delta", "boxes relative to anchors"),
    ("offset", "boxes relative to anchors"),
    ("regress", "boxes relative to anchors"),
    ("locations", "boxes relative to anchors"),
    ("mbox_loc", "boxes relative to anchors"),
];

/// A form of a detector's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An output `[1,N,4]` of corners (left, top, right, bottom), and one `[1,N]` or `[1,N,C]` of scores; where it has one
    /// of classes too, `[1,N]`, its name holds `class` or `label`. In pixels of the input, or from 0 to 1. TensorFlow's
    /// `detection_boxes` have top and left first. Where the scores of every box add up to 1, they are those of a softmax over
    /// classes of which the first is the background, as SSD has it: that one does not count.
    Boxes {
        /// Number of boxes.
        boxes: usize,
        /// Scores of a box.
        scores: usize,
        /// Which outputs: boxes, scores, and classes.
        at: (usize, usize, Option<usize>),
        /// Whether the rows come first.
        rows_first: bool,
    },
    /// One output `[1,4+C,N]`: centre, width and height in pixels, and a score for each class, as YOLO gives it since
    /// version 8.
    Columns {
        /// Number of boxes.
        boxes: usize,
        /// Classes.
        classes: usize,
    },
    /// One output `[1,N,5+C]`: centre, width and height in pixels, a score of there being something, and one for each
    /// class, as YOLO up to version 7 gives it.
    Rows {
        /// Number of boxes.
        boxes: usize,
        /// Classes.
        classes: usize,
    },
    /// One output `[1,N,6]`, N up to 1000: corners in pixels, score and class, of networks that choose the boxes
    /// themselves.
    Final {
        /// Number of boxes.
        boxes: usize,
    },
    /// One output `[1,1,N,7]`, N up to 1000: number of the picture, class, score and corners from 0 to 1, as SSD gives it
    /// in Caffe and OpenVINO. A number below 0 ends the boxes.
    Numbered {
        /// Number of boxes.
        boxes: usize,
    },
}

impl Form {
    /// The form of outputs with these names and shapes.
    ///
    /// # Errors
    /// What the shapes are, and what they may be.
    pub fn of(outputs: &[(&str, &[usize])]) -> Result<Form, String> {
        for (name, _) in outputs {
            let lower = name.to_ascii_lowercase();
            if let Some((_, what)) = RAW.iter().find(|(part, _)| lower.contains(part)) {
                return Err(format!(
                    "its output '{name}' is named as {what}, which are not decoded here: export the network with its boxes \
                     decoded to corners and its scores between 0 and 1 (SSD: with the step that decodes boxes and the \
                     softmax; DETR: with its postprocessing)"
                ));
            }
        }
        let form = Form::find(outputs).ok_or_else(|| {
            let shapes: Vec<String> =
                outputs.iter().take(8).map(|(name, shape)| format!("'{name}' {shape:?}")).collect();
            format!(
                "its outputs are {}, which say no boxes that are known: boxes [1,N,4] with scores [1,N] or [1,N,C], \
                 [1,4+C,N], [1,N,5+C], [1,N,6] or [1,1,N,7]; export it with its boxes decoded",
                shapes.join(", ")
            )
        })?;
        let (boxes, scores) = match form {
            Form::Boxes { boxes, scores, .. } => (boxes, scores),
            Form::Columns { boxes, classes } | Form::Rows { boxes, classes } => (boxes, classes),
            Form::Final { boxes } | Form::Numbered { boxes } => (boxes, 1),
        };
        if boxes > MOST_BOXES || scores > MOST_SCORES {
            return Err(format!(
                "gives {boxes} boxes with {scores} scores each, {MOST_BOXES} with {MOST_SCORES} are taken; export it for a \
                 smaller input"
            ));
        }
        Ok(form)
    }

    fn find(outputs: &[(&str, &[usize])]) -> Option<Form> {
        // The batch of 1 may be left out.
        let shape = |at: usize| match outputs[at].1 {
            [1, rest @ ..] if !rest.is_empty() => rest,
            whole => whole,
        };
        if outputs.len() == 1 {
            return match *shape(0) {
                [1, boxes @ 1..=MOST_FINAL, 7] => Some(Form::Numbered { boxes }),
                [boxes @ 1..=MOST_FINAL, 6] => Some(Form::Final { boxes }),
                [first, boxes] if first >= 5 && boxes > first => Some(Form::Columns { boxes, classes: first - 4 }),
                [boxes, last] if last >= 6 => Some(Form::Rows { boxes, classes: last - 5 }),
                _ => None,
            };
        }
        let is_class = |at: usize| {
            let name = outputs[at].0.to_ascii_lowercase();
            name.contains("class") || name.contains("label")
        };
        let is_boxes =
            |at: &usize| matches!(*shape(*at), [_, 4]) && !outputs[*at].0.to_ascii_lowercase().contains("score");
        let is_called = |at: &usize| is_boxes(at) && outputs[*at].0.to_ascii_lowercase().contains("box");
        let at = (0..outputs.len()).find(is_called).or_else(|| (0..outputs.len()).find(is_boxes))?;
        let boxes = shape(at)[0];
        // One that is called scores before one that may be anything.
        let fits = |other: &usize| {
            let scores = match *shape(*other) {
                [n] => n == boxes,
                [n, _] => n == boxes,
                _ => false,
            };
            *other != at && scores
        };
        let named = |other: &usize| fits(other) && outputs[*other].0.to_ascii_lowercase().contains("score");
        let scores =
            (0..outputs.len()).find(named).or_else(|| (0..outputs.len()).find(|o| fits(o) && !is_class(*o)))?;
        let classes = (0..outputs.len()).find(|other| fits(other) && *other != scores && is_class(*other));
        let each = shape(scores).get(1).copied().unwrap_or(1);
        let classes = classes.filter(|classes| each == 1 && shape(*classes).len() == 1);
        let rows_first = outputs[at].0.contains("detection_boxes");
        (each > 0).then_some(Form::Boxes { boxes, scores: each, at: (at, scores, classes), rows_first })
    }

    /// Puts those boxes of `outputs` into `into` that count, `size` being the side of the input.
    pub fn read(&self, outputs: &[Vec<f32>], settings: &Settings, size: f32, into: &mut Candidates) {
        let counts = |class: usize| {
            settings.classes.is_empty() || settings.classes.iter().any(|wanted| *wanted as usize == class)
        };
        // A NaN is not above anything.
        let best = |first: usize, scores: &mut dyn Iterator<Item = f32>| {
            scores
                .enumerate()
                .filter(|(class, _)| counts(first + *class))
                .map(|(_, score)| score)
                .fold(f32::NEG_INFINITY, f32::max)
        };
        let centred = |x: f32, y: f32, width: f32, height: f32| {
            [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
        };
        let mut add = |corners: [f32; 4], score: f32| {
            if score >= settings.score {
                let unit = corners.iter().all(|number| number.abs() <= UNIT);
                let corners = if unit { corners.map(|number| number * size) } else { corners };
                into.add(Candidate { corners, score });
            }
        };
        match *self {
            Form::Boxes { boxes, scores, at: (at, score, class), rows_first } => {
                let first = usize::from(scores > 1 && is_softmax(&outputs[score], scores));
                for i in 0..boxes {
                    let Some(&[a, b, c, d]) = outputs[at].get(i * 4..i * 4 + 4).and_then(|four| four.first_chunk())
                    else {
                        return;
                    };
                    let Some(of) = outputs[score].get(i * scores..(i + 1) * scores) else { return };
                    let class = class.and_then(|class| outputs[class].get(i));
                    let score = match class {
                        Some(class) if !counts(*class as usize) => continue,
                        Some(_) => of[0],
                        // Scores of one kind are of no class that a filter could name.
                        None if scores == 1 => of[0],
                        // Classes keep their numbers where the background is left out.
                        None => best(first, &mut of[first..].iter().copied()),
                    };
                    add(if rows_first { [b, a, d, c] } else { [a, b, c, d] }, score);
                }
            }
            Form::Columns { boxes, classes } => {
                let Some(all) = outputs.first().filter(|all| all.len() >= boxes * (4 + classes)) else { return };
                let of = |row: usize, i: usize| all[row * boxes + i];
                for i in 0..boxes {
                    let score = best(0, &mut (0..classes).map(|class| of(4 + class, i)));
                    add(centred(of(0, i), of(1, i), of(2, i), of(3, i)), score);
                }
            }
            Form::Rows { boxes, classes } => {
                let Some(all) = outputs.first() else { return };
                for row in all.chunks_exact(5 + classes).take(boxes) {
                    let score = row[4] * best(0, &mut row[5..].iter().copied());
                    add(centred(row[0], row[1], row[2], row[3]), score);
                }
            }
            Form::Final { boxes } => {
                let Some(all) = outputs.first() else { return };
                for row in all.as_chunks::<6>().0.iter().take(boxes) {
                    let [left, top, right, bottom, score, class] = *row;
                    if counts(class as usize) {
                        add([left, top, right, bottom], score);
                    }
                }
            }
            Form::Numbered { boxes } => {
                let Some(all) = outputs.first() else { return };
                for row in all.as_chunks::<7>().0.iter().take(boxes).take_while(|row| row[0] >= 0.0) {
                    let [_, class, score, left, top, right, bottom] = *row;
                    if counts(class as usize) {
                        add([left, top, right, bottom], score);
                    }
                }
            }
        }
    }
}

/// Whether the scores of each box, `each` of them, are shares of a whole.
fn is_softmax(scores: &[f32], each: usize) -> bool {
    let mut rows = scores.chunks_exact(each).peekable();
    rows.peek().is_some() && rows.all(|row| (row.iter().sum::<f32>() - 1.0).abs() <= SOFTMAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_from_shapes() {
        let of = |outputs: &[(&str, &[usize])]| Form::of(outputs);
        assert_eq!(of(&[("output0", &[1, 84, 8400])]), Ok(Form::Columns { boxes: 8400, classes: 80 }));
        assert_eq!(of(&[("output0", &[1, 5, 8400])]), Ok(Form::Columns { boxes: 8400, classes: 1 }));
        assert_eq!(of(&[("output", &[1, 25200, 85])]), Ok(Form::Rows { boxes: 25200, classes: 80 }));
        assert_eq!(of(&[("output0", &[1, 300, 6])]), Ok(Form::Final { boxes: 300 }));
        assert_eq!(of(&[("o", &[300, 6])]), Ok(Form::Final { boxes: 300 }));
        let boxes = |scores, at, rows_first| Ok(Form::Boxes { boxes: 100, scores, at, rows_first });
        assert_eq!(of(&[("boxes", &[1, 100, 4]), ("scores", &[1, 100])]), boxes(1, (0, 1, None), false));
        assert_eq!(of(&[("s", &[1, 100, 3]), ("b", &[1, 100, 4])]), boxes(3, (1, 0, None), false));
        assert_eq!(
            of(&[("labels", &[100]), ("boxes", &[100, 4]), ("scores", &[100])]),
            boxes(1, (1, 2, Some(0)), false)
        );
        let tensorflow: [(&str, &[usize]); 4] = [
            ("detection_boxes", &[1, 100, 4]),
            ("detection_classes", &[1, 100]),
            ("detection_scores", &[1, 100]),
            ("num_detections", &[1]),
        ];
        assert_eq!(of(&tensorflow), boxes(1, (0, 2, Some(1)), true));
        assert_eq!(of(&[("detection_out", &[1, 1, 200, 7])]), Ok(Form::Numbered { boxes: 200 }));
        // Masks beside boxes, in any order.
        assert_eq!(
            of(&[("quad", &[1, 100, 4]), ("boxes", &[1, 100, 4]), ("scores", &[1, 100])]),
            boxes(1, (1, 2, None), false)
        );
        for raw in [
            &[("pred_boxes", &[1, 100, 4][..]), ("logits", &[1, 100, 92][..])][..],
            &[("raw_box_encodings", &[1, 100, 4]), ("scores", &[1, 100, 91])],
            &[("boxes", &[1, 100, 4]), ("scores", &[1, 100, 21]), ("priors", &[100, 4])],
            &[("mbox_loc", &[1, 100, 4]), ("mbox_conf", &[1, 100, 21])],
        ] {
            let refused = of(raw).unwrap_err();
            assert!(refused.contains("export the network with its boxes"), "{refused}");
        }
        for wrong in [
            &[("map", &[1, 1000][..])][..],
            &[("boxes", &[1, 100, 4])],
            &[("boxes", &[1, 100, 4]), ("scores", &[1, 99])],
            &[("map", &[1, 255, 20, 20])],
            &[("boxes", &[1, 1_000_000, 4]), ("scores", &[1, 1_000_000])],
            &[("output0", &[1, 84, 1_000_000])],
            &[("none", &[])],
            &[],
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    fn read(form: Form, outputs: &[Vec<f32>], classes: &[u32]) -> Vec<([f32; 4], f32)> {
        let settings = Settings { score: 0.5, classes: classes.iter().copied().collect() };
        let mut candidates = Candidates::default();
        form.read(outputs, &settings, 100.0, &mut candidates);
        candidates.suppress();
        candidates.iter().map(|candidate| (candidate.corners, candidate.score)).collect()
    }

    #[test]
    fn each_form_is_read_as_it_is_written() {
        let corners = [10.0, 20.0, 30.0, 60.0];
        let form = Form::Boxes { boxes: 2, scores: 1, at: (0, 1, Some(2)), rows_first: false };
        let outputs = [vec![10.0, 20.0, 30.0, 60.0, 0.5, 0.125, 0.75, 0.25], vec![0.9, 0.8], vec![3.0, 4.0]];
        assert_eq!(read(form, &outputs, &[]), [(corners, 0.9), ([50.0, 12.5, 75.0, 25.0], 0.8)]);
        assert_eq!(read(form, &outputs, &[3]), [(corners, 0.9)]);
        let form = Form::Boxes { boxes: 1, scores: 2, at: (0, 1, None), rows_first: true };
        let outputs = [vec![20.0, 10.0, 60.0, 30.0], vec![0.2, 0.9]];
        assert_eq!(read(form, &outputs, &[]), [(corners, 0.9)]);
        assert_eq!(read(form, &outputs, &[0]), []);
        let outputs = [vec![20.0, 99.0, 40.0, 9.0, 20.0, 9.0, 40.0, 9.0, 0.1, 0.2, 0.7, 0.3]];
        assert_eq!(read(Form::Columns { boxes: 2, classes: 2 }, &outputs, &[]), [(corners, 0.7)]);
        let outputs = [vec![20.0, 40.0, 20.0, 40.0, 0.9, 0.1, 1.0]];
        assert_eq!(read(Form::Rows { boxes: 1, classes: 2 }, &outputs, &[]), [(corners, 0.9)]);
        let outputs = [vec![10.0, 20.0, 30.0, 60.0, 0.9, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]];
        assert_eq!(read(Form::Final { boxes: 2 }, &outputs, &[7]), [(corners, 0.9)]);
        assert_eq!(read(Form::Final { boxes: 2 }, &outputs, &[0]), []);
        let outputs = [vec![0.0, 7.0, 0.9, 0.1, 0.2, 0.3, 0.6, -1.0, 7.0, 0.9, 0.5, 0.2, 0.7, 0.6]];
        let numbered = read(Form::Numbered { boxes: 2 }, &outputs, &[7]);
        assert!(
            numbered.len() == 1 && numbered[0].0.iter().zip(corners).all(|(a, b)| (a - b).abs() < 1e-3),
            "{numbered:?}"
        );
        assert_eq!(read(Form::Numbered { boxes: 2 }, &outputs, &[0]), []);
    }

    #[test]
    fn the_background_of_a_softmax_is_no_class() {
        let form = Form::Boxes { boxes: 2, scores: 3, at: (0, 1, None), rows_first: false };
        let positions = vec![10.0, 20.0, 30.0, 60.0, 60.0, 20.0, 90.0, 60.0];
        let softmax = [positions.clone(), vec![0.95, 0.02, 0.03, 0.1, 0.3, 0.6]];
        let thing = ([60.0, 20.0, 90.0, 60.0], 0.6);
        assert_eq!(read(form, &softmax, &[]), [thing]);
        assert_eq!((read(form, &softmax, &[2]), read(form, &softmax, &[1])), (vec![thing], vec![]));
        // Of scores that stand for themselves the first is a class like the others.
        let each = [positions, vec![0.95, 0.02, 0.03, 0.1, 0.3, 0.9]];
        assert_eq!(read(form, &each, &[]).len(), 2);
        assert_eq!(read(form, &each, &[0]).len(), 1);
    }

    #[test]
    fn what_is_no_number_or_too_short_is_no_box() {
        let nan = vec![f32::NAN; 60];
        for form in [
            Form::Boxes { boxes: 5, scores: 2, at: (0, 1, None), rows_first: false },
            Form::Columns { boxes: 6, classes: 2 },
            Form::Rows { boxes: 5, classes: 3 },
            Form::Final { boxes: 5 },
            Form::Numbered { boxes: 5 },
        ] {
            assert_eq!(read(form, &[nan.clone(), nan.clone()], &[]), [], "{form:?}");
            assert_eq!(read(form, &[vec![9.0; 3], vec![9.0; 1]], &[]), [], "{form:?}");
        }
    }
}
