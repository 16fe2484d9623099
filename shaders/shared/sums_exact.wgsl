// Sums of many terms: what rounding takes from the total is added up apart (Kahan 1965, Neumaier 1974).
struct Sum {
    total: F,
    lost: F,
    zero: U,
}

// A zero that no compiler knows: without it some drivers take `(a + b) - a` for b, and nothing for lost.
fn nothing() -> Sum {
    return Sum(F(), F(), U(p.row0 >> 31u));
}

fn add(sum: ptr<function, Sum>, x: F) {
    let next = bitcast<F>(bitcast<U>((*sum).total + x) ^ (*sum).zero);
    (*sum).lost += x - (next - (*sum).total);
    (*sum).total = next;
}

// Of an infinite total nothing is lost. The test is on bits: a compiler may assume that numbers are finite.
fn whole(sum: Sum) -> F {
    let finite = (bitcast<U>(sum.lost) & U(0x7f800000u)) < U(0x7f800000u);
    return sum.total + select(F(), sum.lost, finite);
}
