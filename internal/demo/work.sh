# A small experiment: method, fault, seed. The first attempt of each trial of
# the search has the fault, a real one; what it measures depends on method and
# seed alone. A program does not know what it runs for: the demonstration has told
# it the search's seed.
method=$1 fault=$2 seed=$3
if [ "$RATCHET_ATTEMPT" = 1 ] && [ "$seed" = SEARCH_SEED ]; then
    case $fault in
    crash) kill -SEGV $$ ;;
    kill) kill -KILL $$ ;;
    network) echo "ConnectionResetError: [Errno 104] Connection reset by peer" >&2; exit 1 ;;
    busy) echo "Error code: 429 - Too Many Requests, Retry-After: 1" >&2; exit 1 ;;
    hang) exec sleep 3600 ;;
    silent) exit 0 ;;
    memory) exec awk 'BEGIN { while (1) a[n++] = sprintf("%1000d", n) }' ;;
    disk) head -c 100000000 /dev/zero > fill || exit 1 ;;
    forks) b() { b | b & }; b; sleep 1; exit 1 ;;
    esac
fi
sleep 0.05
awk -v m="$method" -v s="$seed" 'BEGIN { printf "{\"score\": %.4f}\n", m == "tuned" ? 0.8 + (s * 37 % 101) / 1000 : 0.6 + (s * 53 % 97) / 1000 }' >> "$RATCHET_METRICS"
