/// The nodes of a machine's memory (NUMA): each has cores that reach it sooner than others do.
package enum MemoryNodes {
  /// The hardware threads of each node that has any, in the order of the nodes; none where the
  /// system does not say.
  ///
  /// - Parameter read: the text of a file, empty where there is none.
  package static func cpus(_ read: (String) -> String) -> [[Int]] {
    let folder = "/sys/devices/system/node"
    return numbers(inRanges: read("\(folder)/online").firstLine)
      .map { numbers(inRanges: read("\(folder)/node\($0)/cpulist").firstLine) }
      .filter { !$0.isEmpty }
  }
}
