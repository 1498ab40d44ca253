import Glibc

/// Processor time of this process.
enum ProcessorTime {
  /// Of all threads, in user and system mode.
  ///
  /// What the kernel does for the network in interrupts is charged to whoever runs just then.
  static var seconds: Double {
    var usage = rusage()
    unsafe getrusage(RUSAGE_SELF.rawValue, &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) {
      $0 + Double($1.tv_sec) + Double($1.tv_usec) * 1e-6
    }
  }
}
