/// Point-to-point messages of one communicator on this rank, as handed to MPI.
///
/// A chunk is a message. Counted when posted; a receive is counted with the bytes that it expects,
/// which are the bytes that arrived once its wait has returned. Collectives are not counted: what
/// they send is the library's business.
public struct Traffic: Sendable, Hashable, AdditiveArithmetic {
  /// Payload bytes handed to `MPI_Isend`.
  public var bytesSent: Int
  /// Calls of `MPI_Isend`.
  public var messagesSent: Int
  /// Payload bytes asked of `MPI_Imrecv`.
  public var bytesReceived: Int
  /// Calls of `MPI_Imrecv`.
  public var messagesReceived: Int

  /// Traffic with the given counts.
  public init(
    bytesSent: Int = 0, messagesSent: Int = 0, bytesReceived: Int = 0, messagesReceived: Int = 0
  ) {
    self.bytesSent = bytesSent
    self.messagesSent = messagesSent
    self.bytesReceived = bytesReceived
    self.messagesReceived = messagesReceived
  }

  /// No traffic.
  public static var zero: Traffic { Traffic() }

  /// Both traffics together.
  public static func + (left: Traffic, right: Traffic) -> Traffic {
    Traffic(
      bytesSent: left.bytesSent + right.bytesSent,
      messagesSent: left.messagesSent + right.messagesSent,
      bytesReceived: left.bytesReceived + right.bytesReceived,
      messagesReceived: left.messagesReceived + right.messagesReceived)
  }

  /// What was added between the reading `right` and the later reading `left`.
  public static func - (left: Traffic, right: Traffic) -> Traffic {
    Traffic(
      bytesSent: left.bytesSent - right.bytesSent,
      messagesSent: left.messagesSent - right.messagesSent,
      bytesReceived: left.bytesReceived - right.bytesReceived,
      messagesReceived: left.messagesReceived - right.messagesReceived)
  }
}
