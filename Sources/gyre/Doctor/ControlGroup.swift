/// What the container or the batch system grants a process, in either version of control groups.
package struct ControlGroup {
  /// Processors' time; nil where it is not limited.
  package private(set) var cores: Double?
  /// Memory; nil where it is not limited.
  package private(set) var memoryBytes: Int?

  /// The tightest limits from the process's group up to the root.
  ///
  /// - Parameters:
  ///   - membership: the text of `/proc/self/cgroup`.
  ///   - read: the text of a file, empty where there is none.
  package init(membership: String, read: (String) -> String) {
    for line in membership.split(separator: "\n") {
      // hierarchy:controllers:path
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let controllers = parts[1].split(separator: ",")
      for path in Self.ancestors(of: parts[2]) {
        if controllers.isEmpty {
          let share = read("/sys/fs/cgroup\(path)/cpu.max").split { $0.isWhitespace }
          if share.count == 2 { limit(quota: String(share[0]), period: String(share[1])) }
          limit(memory: read("/sys/fs/cgroup\(path)/memory.max"))
        }
        if controllers.contains("cpu") {
          let folder = "/sys/fs/cgroup/cpu\(path)"
          limit(
            quota: read("\(folder)/cpu.cfs_quota_us"), period: read("\(folder)/cpu.cfs_period_us"))
        }
        if controllers.contains("memory") {
          limit(memory: read("/sys/fs/cgroup/memory\(path)/memory.limit_in_bytes"))
        }
      }
    }
  }

  /// The path and those above it, down from the whole; the root is empty.
  private static func ancestors(of path: Substring) -> [String] {
    let names = path.split(separator: "/")
    return (0...names.count).reversed().map { names.prefix($0).map { "/\($0)" }.joined() }
  }

  private mutating func limit(quota: String, period: String) {
    guard let quota = Double(quota.filter { !$0.isWhitespace }), quota > 0,
      let period = Double(period.filter { !$0.isWhitespace }), period > 0
    else { return }
    cores = min(cores ?? .infinity, quota / period)
  }

  private mutating func limit(memory text: String) {
    // No limit is "max", or nearly 2⁶³.
    guard let bytes = Int(text.filter { !$0.isWhitespace }), bytes < 1 << 60 else { return }
    memoryBytes = min(memoryBytes ?? .max, bytes)
  }
}
