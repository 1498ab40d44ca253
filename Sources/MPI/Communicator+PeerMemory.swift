internal import COpenMPI
internal import Glibc

extension Communicator {
  /// Whether this rank may read the memory of the next one, the last rank that of the first; nil
  /// where there is one rank.
  ///
  /// For the ranks of one node. The kernel's permission lets Open MPI copy a large message once,
  /// straight from the sender's memory ("single copy"), and not into shared memory and out of it
  /// again. A container often forbids the call, a hardened kernel wants to be asked first. This is
  /// tried and not looked up. A collective call.
  ///
  /// - Complexity: an allgather of three integers and a barrier.
  public func canReadNextRanksMemory() throws(MPIError) -> Bool? {
    guard size > 1 else { return nil }
    let secret = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    defer { unsafe secret.deallocate() }
    unsafe secret.initialize(to: Int.random(in: .min ... .max))
    let mine = unsafe [Int(getpid()), Int(bitPattern: secret), secret.pointee]
    let next = try allGather(mine)[(rank + 1) % size]
    var read = ~next[2]
    let count = unsafe copenmpi_read_memory(
      pid_t(next[0]), UInt(bitPattern: next[1]), &read, MemoryLayout<Int>.size)
    // The secret stays until all have read.
    try barrier()
    return count == MemoryLayout<Int>.size && read == next[2]
  }
}
