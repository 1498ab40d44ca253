/// What the container or the batch system grants a process, in either version of control groups.
package struct ControlGroup {
  /// Processors' time; nil where it is not limited.
  package private(set) var cores: Double?
  /// Memory; nil where it is not limited.
  package private(set) var memoryBytes: Int?

  /// Of this process.
  package static var current: ControlGroup { ControlGroup(read: text(ofFile:)) }

  /// The tightest limits from the process's group up to the root.
  ///
  /// - Parameter read: the text of a file, empty where there is none.
  package init(read: (String) -> String) {
    let mounts = read("/proc/self/mountinfo").split(separator: "\n").compactMap(Mount.init)
    for line in read("/proc/self/cgroup").split(separator: "\n") {
      // hierarchy:controllers:path
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let controllers = parts[1].split(separator: ",").map(String.init)
      if controllers.isEmpty {
        for folder in Self.folders(of: parts[2], nil, mounts) {
          let share = read("\(folder)/cpu.max").split { $0.isWhitespace }
          if share.count == 2 { limit(quota: String(share[0]), period: String(share[1])) }
          limit(memory: read("\(folder)/memory.max"))
          // Past it the kernel does not kill, but brings the process nearly to a halt.
          limit(memory: read("\(folder)/memory.high"))
        }
      }
      if controllers.contains("cpu") {
        for folder in Self.folders(of: parts[2], "cpu", mounts) {
          limit(
            quota: read("\(folder)/cpu.cfs_quota_us"), period: read("\(folder)/cpu.cfs_period_us"))
        }
      }
      if controllers.contains("memory") {
        for folder in Self.folders(of: parts[2], "memory", mounts) {
          limit(memory: read("\(folder)/memory.limit_in_bytes"))
        }
      }
    }
  }

  /// A mounted hierarchy of control groups, or a part of one.
  private struct Mount {
    /// What of the hierarchy is mounted: a container may see its own group only.
    let root: Substring
    let point: Substring
    /// Nil in version 2, which has one hierarchy for all.
    let controllers: [Substring]?

    /// Parses a line of `/proc/self/mountinfo`; nil for other file systems.
    init?(_ line: Substring) {
      let fields = line.split(separator: " ")
      guard fields.count > 4, let dash = fields.firstIndex(of: "-"), fields.count > dash + 3,
        fields[dash + 1].hasPrefix("cgroup")
      else { return nil }
      root = fields[3]
      point = fields[4]
      controllers = fields[dash + 1] == "cgroup2" ? nil : fields[dash + 3].split(separator: ",")
    }
  }

  /// The folders of a group and of those above it, as far as they are mounted.
  private static func folders(
    of path: Substring, _ controller: String?, _ mounts: [Mount]
  ) -> [String] {
    let mount = mounts.last { mount in
      controller.map { name in mount.controllers?.contains { $0 == name } ?? false }
        ?? (mount.controllers == nil)
    }
    let point = mount?.point ?? Substring("/sys/fs/cgroup" + (controller.map { "/\($0)" } ?? ""))
    let root = (mount?.root ?? "/").split(separator: "/")
    var names = path.split(separator: "/")
    // Without a namespace of its own a container is told a path that it does not see.
    names = names.starts(with: root) ? Array(names.dropFirst(root.count)) : []
    if names.contains("..") { names = [] }
    return (0...names.count).reversed().map { count in
      names.prefix(count).reduce(String(point)) { $0 + "/" + $1 }
    }
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
