// Compensated sums of many terms: rounding errors are summed separately (Kahan 1965, Neumaier 1974).
struct Sum {
    total: F,
    lost: F,
    zero: U,
}

// Empty sum. `zero` is unknown to the compiler: otherwise some drivers simplify `(a + b) - a` to b, and `lost` to zero.
fn nothing() -> Sum {
    return Sum(F(), F(), U(p.row0 >> 31u));
}

fn add(sum: ptr<function, Sum>, x: F) {
    let next = bitcast<F>(bitcast<U>((*sum).total + x) ^ (*sum).zero);
    (*sum).lost += x - (next - (*sum).total);
    (*sum).total = next;
}

// Corrected total. An infinite one has no correction; tested on bits, since a compiler may assume finite numbers.
fn whole(sum: Sum) -> F {
    let finite = (bitcast<U>(sum.lost) & U(0x7f800000u)) < U(0x7f800000u);
    return sum.total + select(F(), sum.lost, finite);
}
