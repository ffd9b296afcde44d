//! Products of integers whose ranges are of each frame (dynamic quantisation): ConvInteger and MatMulInteger behind
//! DynamicQuantizeLinear.
//!
//! They become products of floats over the same integers, less their zero points, with weights that are made floats at
//! load: the quantisation of the input stays as it is, and sums are the same as long as they are below 2²⁴; above it they
//! are rounded to 24 bits. Engines compute integer products that are no int8 layers in loops that are many times slower.

use super::super::graph::{Const, Node, is_onnx};
use super::{FLOAT32, Pass};

const INT32: i64 = 6;

impl Pass<'_> {
    /// Writes a ConvInteger or MatMulInteger as a product of floats; false if it is none, or if its zero points are of
    /// rows.
    pub(super) fn integer_product(&mut self, node: &Node) -> bool {
        let conv = node.op == "ConvInteger";
        if !is_onnx(&node.domain) || !conv && node.op != "MatMulInteger" {
            return false;
        }
        let (Some(x), Some(w)) = (node.input(0), node.input(1)) else { return false };
        if !self.may_centre(x, node.input(2), conv) || !self.may_centre(w, node.input(3), conv) {
            return false;
        }
        let x = self.centred(x, node.input(2), conv);
        let w = self.centred(w, node.input(3), conv);
        let sums = self.fresh(node.output());
        let op = if conv { "Conv" } else { "MatMul" };
        let mut product = Node::new(op, &node.name, &[&x, &w], &sums);
        product.attributes.clone_from(&node.attributes);
        self.out.push(product);
        self.out.push(Node::new("Cast", "", &[&sums], node.output()).with_int("to", INT32));
        self.sums.insert(node.output().to_string(), sums);
        true
    }

    /// The float tensor that a Cast of integer sums to float gives.
    pub(super) fn sums_as_floats(&self, node: &Node) -> Option<&String> {
        let cast = is_onnx(&node.domain) && node.op == "Cast" && node.int("to", 0) == FLOAT32;
        node.input(0).filter(|_| cast).and_then(|x| self.sums.get(x))
    }

    fn may_centre(&self, x: &str, zero: Option<&str>, conv: bool) -> bool {
        let constant = zero.and_then(|zero| self.consts.get(zero));
        let one = zero.is_none() || constant.is_some_and(|c| c.len() == 1);
        match self.consts.get(x) {
            Some(c) if c.as_integers().is_none() => false,
            Some(_) if one => true,
            Some(c) => {
                let channels = if conv { c.shape.first() } else { c.shape.last() };
                constant.is_some_and(|z| z.as_integers().is_some() && Some(&z.len()) == channels && z.shape.len() == 1)
            }
            // What is computed for each frame is one number.
            None => one || constant.is_none() && zero.and_then(|z| self.shapes.get(z)).is_some_and(Vec::is_empty),
        }
    }

    /// An operand less its zero point, as numbers.
    fn centred(&mut self, x: &str, zero: Option<&str>, conv: bool) -> String {
        let name = self.fresh(x);
        let zeros = match zero {
            None => Some(vec![0]),
            Some(zero) => self.consts.get(zero).and_then(|z| z.as_integers()),
        };
        if let Some(constant) = self.consts.get(x)
            && let (Some(values), Some(zeros)) = (constant.as_integers(), &zeros)
        {
            let shape = constant.shape.clone();
            let inner: usize = if conv { shape.iter().skip(1).product() } else { 1 };
            let zero = |i: usize| zeros[i / inner.max(1) % zeros.len()];
            let f32_values =
                values.iter().enumerate().map(|(i, v)| (i64::from(*v) - i64::from(zero(i))) as f32).collect();
            self.consts.insert(name.clone(), Const::floats(&shape, f32_values));
            return name;
        }
        let whole = self.fresh(x);
        self.out.push(Node::new("Cast", "", &[x], &whole).with_int("to", FLOAT32));
        let Some(zero) = zero else { return whole };
        let offset = self.fresh(zero);
        self.out.push(Node::new("Cast", "", &[zero], &offset).with_int("to", FLOAT32));
        self.out.push(Node::new("Sub", "", &[&whole, &offset], &name));
        name
    }
}
