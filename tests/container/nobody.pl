# nobody.pl ROOT CAPABILITY PROGRAM...: as user 65532 in ROOT, with one capability left in the bounding set, or none.
use strict;
my ($root, $kept, @program) = @ARGV;
my $prctl = `uname -m` =~ /^x86_64/ ? 157 : 167;
chroot $root or die $!;
chdir '/';
for my $capability (0 .. 63) {
    next if $capability eq $kept;
    syscall($prctl, 24, $capability, 0, 0, 0);    # PR_CAPBSET_DROP
}
$) = '65532 65532';
$( = 65532;
$< = $> = 65532;
exec @program or die $!;
