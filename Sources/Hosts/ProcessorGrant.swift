import Glibc

/// The processors that a process may use: everything that asks how many cores there are asks this.
package struct ProcessorGrant: Codable, Hashable, Sendable {
  /// The hardware threads that it may run on, as Linux numbers them: those it was bound to, which
  /// the kernel keeps within the cpuset of its control group.
  package let cpus: [Int]
  /// The cores that those belong to, each by its first hardware thread.
  package let cores: Set<Int>
  /// How many processors' time the control group grants; nil where it is not limited.
  package let quota: Double?

  /// Of this process.
  package static var current: ProcessorGrant { ProcessorGrant(read: text(ofFile:)) }

  /// Of the process that has started this one.
  package static var ofParent: ProcessorGrant { ProcessorGrant(process: "\(getppid())") }

  /// - Parameters:
  ///   - process: the number of one, if it is not this one.
  ///   - read: the text of a file, empty where there is none.
  package init(process: String = "self", read: (String) -> String = text(ofFile:)) {
    let status = read("/proc/\(process)/status").split(separator: "\n")
    let line = status.first { $0.hasPrefix("Cpus_allowed_list:") }
    let allowed = numbers(
      inRanges: line?.split(whereSeparator: \.isWhitespace).last.map(String.init) ?? "")
    let online = Self.online(read)
    // A mask may have processors that the machine could have and has not.
    let usable = Set(allowed).intersection(online.joined())
    cpus = usable.isEmpty ? allowed : usable.sorted()
    let own = Set(cpus)
    let cores = online.filter { !own.isDisjoint(with: $0) }.compactMap(\.first)
    self.cores = cores.isEmpty ? own : Set(cores)
    quota = ControlGroup(read: read).cores
  }

  /// How many threads can compute at once: a core each, as far as there is time for them.
  package var coreCount: Int { Self.count(cores.count, quota) }

  /// Cores as far as a quota lets them be used; a part of one is one.
  package static func count(_ cores: Int, _ quota: Double?) -> Int {
    guard let quota, quota < Double(cores) else { return cores }
    return max(1, Int(quota.rounded(.up)))
  }

  /// The hardware threads of each core that is online, whoever may use it; where the system does
  /// not say, none.
  package static func online(_ read: (String) -> String) -> [[Int]] {
    let folder = "/sys/devices/system/cpu"
    var seen: Set<Int> = []
    var cores: [[Int]] = []
    let online = numbers(inRanges: read("\(folder)/online").firstLine)
    for cpu in online where !seen.contains(cpu) {
      let siblings = numbers(
        inRanges: read("\(folder)/cpu\(cpu)/topology/thread_siblings_list").firstLine)
      let core = siblings.contains(cpu) ? siblings.filter(online.contains) : [cpu]
      seen.formUnion(core)
      cores.append(core)
    }
    return cores
  }
}
