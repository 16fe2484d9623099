// One element at a time.
alias F = f32;
alias U = u32;
