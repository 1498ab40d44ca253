import Glibc
import Reporting

/// The memory of this host: everything that asks how much there is asks this.
package struct HostMemory: Sendable {
  /// Of the machine.
  package let physicalBytes: Int
  /// The most that the control group grants; nil where that is not less.
  package let limitBytes: Int?

  /// Of this host, for this process.
  package static var current: HostMemory {
    HostMemory(
      physicalBytes: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)),
      limitBytes: ControlGroup.current.memoryBytes)
  }

  package init(physicalBytes: Int, limitBytes: Int?) {
    self.physicalBytes = physicalBytes
    self.limitBytes = limitBytes.flatMap { $0 < physicalBytes ? $0 : nil }
  }

  /// What processes here may have together.
  package var usableBytes: Int { limitBytes ?? physicalBytes }

  /// Refuses what does not fit.
  ///
  /// - Parameters:
  ///   - needed: the bytes that all ranks of this host need.
  ///   - what: what needs them, in the plural.
  ///   - remedy: what to do instead.
  ///   - isOfArguments: whether the command line alone asks for so much, and no file.
  /// - Throws: a sentence.
  package func require(
    _ needed: Double, for what: String, remedy: String, isOfArguments: Bool = false
  ) throws {
    guard let complaint = complaint(needed, for: what, remedy: remedy) else { return }
    throw isOfArguments ? UserError.usage(complaint) : UserError(complaint)
  }

  /// What is said of bytes that do not fit; nil if they do.
  package func complaint(_ needed: Double, for what: String, remedy: String) -> String? {
    guard needed > Double(usableBytes) else { return nil }
    let has =
      limitBytes.map {
        "its container or batch system grants \(formatBytes(Double($0))) of "
          + formatBytes(Double(physicalBytes))
      } ?? "it has \(formatBytes(Double(physicalBytes)))"
    return "\(what) need \(formatBytes(needed)) of memory on this host and \(has); \(remedy)."
  }
}
