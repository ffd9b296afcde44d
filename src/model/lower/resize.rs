//! Resize that is linear between pixels.

use super::super::graph::{Graph, Node};
use super::super::shapes::Shapes;
use oltr_int8::Between;

/// Between which pixels the rows and columns of a linear Resize lie; `None` where it does anything else.
pub(super) fn between(graph: &Graph, shapes: &Shapes, node: &Node) -> Option<[Vec<Between>; 2]> {
    let (&[1, c, h, w], &[1, same, height, width]) =
        (&shapes.get(node.input(0)?)?[..], &shapes.get(node.output())?[..])
    else {
        return None;
    };
    let old = graph.opset < 11;
    let smooths = node.int("antialias", 0) != 0 || node.int("exclude_outside", 0) != 0;
    if node.text("mode") != "linear" || c != same || smooths || [h, w, height, width].contains(&0) {
        return None;
    }
    let transformation = match node.text("coordinate_transformation_mode") {
        _ if old => "asymmetric",
        "" => "half_pixel",
        given => given,
    };
    let axes: Vec<i64> = node.ints("axes").map_or_else(|| (0..4).collect(), <[i64]>::to_vec);
    let place = |axis: i64| axes.iter().position(|a| *a == axis || *a == axis - 4);
    let given = node.input(if old { 1 } else { 2 }).and_then(|name| graph.consts.get(name)?.as_f32());
    let list = |axis: i64, from: usize, to: usize| {
        let scale = match given.as_deref().filter(|scales| !scales.is_empty()) {
            // A scale that was given counts, not the one that sizes tell.
            Some(scales) => place(axis).map_or(Some(1.0), |i| scales.get(i).copied())?,
            None => to as f32 / from as f32,
        };
        let source = |i: usize| {
            let i = i as f32;
            Some(match transformation {
                "asymmetric" => i / scale,
                "half_pixel" => (i + 0.5) / scale - 0.5,
                "pytorch_half_pixel" if to > 1 => (i + 0.5) / scale - 0.5,
                "pytorch_half_pixel" => 0.0,
                "align_corners" if to > 1 => i * (from - 1) as f32 / (to - 1) as f32,
                "align_corners" => 0.0,
                _ => return None,
            })
        };
        let one = |i: usize| {
            let at = source(i)?.clamp(0.0, (from - 1) as f32);
            let first = (at as usize).min(from - 1);
            let share = at - first as f32;
            Some(Between { positions: [first, (first + 1).min(from - 1)], shares: [1.0 - share, share] })
        };
        (0..to).map(one).collect::<Option<Vec<Between>>>()
    };
    Some([list(2, h, height)?, list(3, w, width)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::AttributeProto;

    use crate::model::graph::Const;

    fn text(mut node: Node, name: &str, value: &str) -> Node {
        node.attributes.push(AttributeProto { name: name.into(), s: value.into(), ..Default::default() });
        node
    }

    /// The columns of a row of `from` pixels that becomes one of `to`.
    fn columns(transformation: &str, from: usize, to: usize, scale: f32) -> Option<Vec<(usize, f32)>> {
        let mut graph = Graph { opset: 13, ..Graph::default() };
        graph.consts.insert("s".into(), Const::floats(&[4], vec![1.0, 1.0, 1.0, scale]));
        let shapes: Shapes = [("x".into(), vec![1, 3, 2, from]), ("y".into(), vec![1, 3, 2, to])].into();
        let node = text(Node::new("Resize", "", &["x", "", "s"], "y"), "mode", "linear");
        let node = text(node, "coordinate_transformation_mode", transformation);
        let [rows, columns] = between(&graph, &shapes, &node)?;
        assert!(rows.iter().enumerate().all(|(i, row)| row.positions[0] == i && row.shares == [1.0, 0.0]), "{rows:?}");
        assert!(columns.iter().all(|b| b.positions[1] < from && (b.shares[0] + b.shares[1] - 1.0).abs() < 1e-6));
        Some(columns.iter().map(|b| (b.positions[0], b.shares[1])).collect())
    }

    #[test]
    fn pixels_are_where_onnx_has_them() {
        assert_eq!(columns("half_pixel", 2, 4, 2.0), Some(vec![(0, 0.0), (0, 0.25), (0, 0.75), (1, 0.0)]));
        assert_eq!(columns("asymmetric", 2, 4, 2.0), Some(vec![(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.0)]));
        assert_eq!(columns("align_corners", 3, 5, 1.7), Some(vec![(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0)]));
        assert_eq!(columns("pytorch_half_pixel", 3, 1, 0.4), Some(vec![(0, 0.0)]));
        assert_eq!(columns("tf_crop_and_resize", 3, 6, 2.0), None);
    }
}
