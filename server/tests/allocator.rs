//! The allocator's figures in a program that has jemalloc, as the binary does.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[test]
fn an_allocation_is_counted() {
    let allocated = || server::process::allocator().map_or(0, |figures| figures.allocated);
    let before = allocated();
    let block = std::hint::black_box(vec![1u8; 32 << 20]);
    let after = allocated();
    assert!(before > 0 && after >= before + block.len() as u64, "{before} {after}");
}
