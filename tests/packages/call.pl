# A call of one second over loopback: two ends, SIP and 50 packets of G.711, 20 ms apart, one way.
use strict;
use Socket;

sub port {
    socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die;
    bind($socket, sockaddr_in($_[0], inet_aton("127.0.0.1"))) or die;
    return $socket;
}
my ($alice, $bob, $ear, $mouth) = map { port($_) } 5070, 5060, 20000, 20002;
sub pass { send($_[0], $_[2], 0, sockaddr_in($_[1], inet_aton("127.0.0.1"))) or die; select(undef, undef, undef, 0.02); }

sub message {
    my ($line, $method, $number, $media) = @_;
    my $body = $media ? join("", map { "$_\r\n" } "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1",
        "t=0 0", "m=audio $media RTP/AVP 0") : "";
    return join("\r\n", $line, "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK$method",
        "From: <sip:alice\@127.0.0.1>;tag=a", "To: <sip:bob\@127.0.0.1>" . ($line =~ /^INV/ ? "" : ";tag=b"),
        "Call-ID: packaged-$$", "CSeq: $number $method", "Contact: <sip:x\@127.0.0.1>", "Max-Forwards: 70",
        $media ? "Content-Type: application/sdp" : (), "Content-Length: " . length($body), "", $body);
}
pass($alice, 5060, message("INVITE sip:bob\@127.0.0.1 SIP/2.0", "INVITE", 1, 20000));
pass($bob, 5070, message("SIP/2.0 180 Ringing", "INVITE", 1, 0));
pass($bob, 5070, message("SIP/2.0 200 OK", "INVITE", 1, 20002));
pass($alice, 5060, message("ACK sip:bob\@127.0.0.1 SIP/2.0", "ACK", 1, 0));
for my $n (0 .. 49) {
    pass($mouth, 20000, pack("CCnNN", 128, 0, $n, 160 * $n, 7) . "\xd5" x 160);
}
exit if @ARGV;
pass($alice, 5060, message("BYE sip:bob\@127.0.0.1 SIP/2.0", "BYE", 2, 0));
pass($bob, 5070, message("SIP/2.0 200 OK", "BYE", 2, 0));
