// Sums of few terms, without compensation.
struct Sum {
    total: F,
}

fn nothing() -> Sum {
    return Sum();
}

fn add(sum: ptr<function, Sum>, x: F) {
    (*sum).total += x;
}

fn whole(sum: Sum) -> F {
    return sum.total;
}
