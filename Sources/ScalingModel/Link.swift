/// A way between two ranks: what a message costs.
public struct Link: Hashable, Sendable {
  /// Seconds of a message without bytes.
  public var latency: Double
  /// Bytes a second in each direction.
  public var bytesPerSecond: Double
  /// Processor time that a byte costs its sender, and again its receiver.
  public var cpuSecondsPerByte: Double

  /// Describes a link.
  public init(latency: Double, bytesPerSecond: Double, cpuSecondsPerByte: Double = 0) {
    self.latency = latency
    self.bytesPerSecond = bytesPerSecond
    self.cpuSecondsPerByte = cpuSecondsPerByte
  }
}
