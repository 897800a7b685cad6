// Package traffic makes connections from a host of the lab and says what became of
// them.
package traffic

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/lab"
)

// patience is how long a connection may take. A SYN that was lost is sent again
// after a second, so a shorter one would tell refusal from loss, and nothing else.
const patience = 700 * time.Millisecond

// Ask connects to an "address:port" from a host, once, and returns the name of who
// answers.
func Ask(from *lab.Host, address string) (name string, err error) {
	err = from.Do(func() error {
		name, err = ask(address)
		return err
	})
	return name, err
}

// ask is Ask within lab.Host.Do.
func ask(address string) (string, error) {
	connection, err := lab.Dial(address, patience)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	// Close with a reset: thousands of connections must not use up the ports.
	_ = connection.(*net.TCPConn).SetLinger(0)
	_ = connection.SetDeadline(time.Now().Add(patience))
	return readLine(bufio.NewReader(connection))
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// Conversation is a connection that stays open.
type Conversation struct {
	With string

	connection net.Conn
	read       *bufio.Reader
	said       int
}

// Converse opens a conversation.
func Converse(from *lab.Host, address string) (*Conversation, error) {
	c := &Conversation{}
	return c, from.Do(func() (err error) {
		if c.connection, err = lab.Dial(address, patience); err != nil {
			return err
		}
		c.read = bufio.NewReader(c.connection)
		_ = c.connection.SetDeadline(time.Now().Add(patience))
		c.With, err = readLine(c.read)
		return err
	})
}

// Say says something and waits to hear it again.
func (c *Conversation) Say() error {
	c.said++
	word := fmt.Sprint("word ", c.said)
	_ = c.connection.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(c.connection, word); err != nil {
		return err
	}
	heard, err := readLine(c.read)
	if err == nil && heard != word {
		err = fmt.Errorf("said %q, heard %q", word, heard)
	}
	return err
}

// Close ends the conversation.
func (c *Conversation) Close() error { return c.connection.Close() }
